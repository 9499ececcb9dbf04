//! Token buckets, for rate limits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A rate limit with a burst of one second's worth.
///
/// It is implemented as the generic cell rate algorithm (GCRA): one number, the time at which all that was taken will
/// have been refilled. It needs no timer, and an idle bucket equals a new one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenBucket {
    /// The time when the bucket is full again, on the hub's clock in nanoseconds.
    full_at: u64,
}

/// A [`TokenBucket`] that several peers share, without a lock.
#[derive(Debug, Default)]
pub(in crate::hub) struct SharedTokenBucket {
    full_at: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl TokenBucket {
    /// Takes `count` tokens and returns true, or takes none and returns false if that would exceed `per_second`. `now`
    /// must not decrease between calls.
    pub(crate) fn try_take(&mut self, count: usize, per_second: u32, now: Duration) -> bool {
        let full_at = take(self.full_at, count, per_second.into(), now);
        self.full_at = full_at.unwrap_or(self.full_at);
        full_at.is_some()
    }
}

impl SharedTokenBucket {
    /// Takes tokens as [`TokenBucket::try_take`] does. `now` may decrease slightly, because threads read the clock
    /// separately.
    pub(in crate::hub) fn try_take(&self, count: usize, per_second: u64, now: Duration) -> bool {
        let taken = |full_at| take(full_at, count, per_second, now);
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }

    /// Returns whether the bucket is full, as a new one is.
    pub(in crate::hub) fn is_full(&self, now: Duration) -> bool {
        self.full_at.load(Ordering::Relaxed) <= nanoseconds(now)
    }
}

/// Returns the time when a bucket is full again after `count` tokens were taken. `None` if it has fewer.
fn take(full_at: u64, count: usize, per_second: u64, now: Duration) -> Option<u64> {
    let now = nanoseconds(now);
    // `count` is at most 2^27, twice the maximum of `max_message_bytes`, so this cannot overflow.
    let until = full_at.max(now) + count as u64 * SECOND / per_second;
    (until <= now + SECOND).then_some(until)
}

/// A `u64` of nanoseconds lasts for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bucket_allows_a_burst_of_one_second_and_then_the_rate() {
        for per_second in [1, 3, 1000, 20_000] {
            let mut bucket = TokenBucket::default();
            let start = 100 * SECOND;
            assert!((0..per_second).all(|_| bucket.try_take(1, per_second, start)), "{per_second}");
            assert!(!bucket.try_take(1, per_second, start));
            assert!(!bucket.try_take(1, per_second, start + SECOND / (per_second * 2)));
            assert!(bucket.try_take(1, per_second, start + SECOND / per_second));
            assert!(!bucket.try_take(1, per_second, start + SECOND / per_second));
            let later = start + 3 * SECOND;
            assert_eq!(
                (0..2 * per_second).filter(|_| bucket.try_take(1, per_second, later)).count() as u32,
                per_second
            );
        }
    }

    #[test]
    fn rejected_take_consumes_no_tokens() {
        let mut bucket = TokenBucket::default();
        assert!(bucket.try_take(60, 100, SECOND));
        assert!(!bucket.try_take(41, 100, SECOND));
        assert!(bucket.try_take(40, 100, SECOND));
    }
    #[test]
    fn shared_bucket_allows_what_a_bucket_allows() {
        let (mut bucket, shared) = (TokenBucket::default(), SharedTokenBucket::default());
        for step in 1..1000_u32 {
            let (count, now) = (step as usize * 7 % 31, step * SECOND / 50);
            assert_eq!(shared.try_take(count, 400, now), bucket.try_take(count, 400, now), "step {step}");
        }
        assert!(!shared.is_full(20 * SECOND) && shared.is_full(21 * SECOND));
    }

    #[test]
    fn threads_take_no_more_than_the_burst_of_a_shared_bucket() {
        let bucket = SharedTokenBucket::default();
        let take = || (0..10_000).filter(|_| bucket.try_take(1, 5000, SECOND)).count();
        let taken = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(take));
            threads.map(|thread| thread.join().expect("the thread does not panic"))
        });
        assert_eq!(taken.iter().sum::<usize>(), 5000);
    }
}
