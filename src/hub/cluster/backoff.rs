//! How long to wait after a call to the backplane has failed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// The wait after the first failure.
const MIN: Duration = Duration::from_millis(50);

/// The longest wait, without the random part.
const MAX: Duration = Duration::from_secs(1);

/// Counts the calls that failed in a row, whichever they were: they all use one engine.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: AtomicU32,
}

impl Backoff {
    /// Notes that a call has succeeded.
    pub(super) fn reset(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Waits after a call that has failed. The wait has a random part, so that the nodes do not return at once.
    pub(super) async fn wait(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let wait = MIN.saturating_mul(1 << failures.min(8)).min(MAX);
        sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    async fn wait(backoff: &Backoff) -> Duration {
        let start = Instant::now();
        backoff.wait().await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn wait_doubles_up_to_a_second_and_has_a_random_part() {
        let waits = [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000, 1000, 1000].map(Duration::from_millis);
        let mut different = false;
        for _ in 0..100 {
            let (first, second) = (Backoff::default(), Backoff::default());
            for expected in waits {
                let (waited, other) = (wait(&first).await, wait(&second).await);
                assert!(waited >= expected / 2, "{waited:?} instead of {expected:?}");
                // A timer is up to 1 ms late.
                assert!(waited <= expected * 3 / 2 + Duration::from_millis(1), "{waited:?} instead of {expected:?}");
                different |= waited != other;
            }
        }
        assert!(different, "two nodes wait for different times");
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_succeeds_starts_the_waits_over() {
        let backoff = Backoff::default();
        for _ in 0..10 {
            backoff.wait().await;
        }
        backoff.reset();
        assert!(wait(&backoff).await <= Duration::from_millis(76));
    }
}
