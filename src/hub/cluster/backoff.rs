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
