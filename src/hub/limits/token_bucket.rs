//! A token bucket, for rate limits.

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

const SECOND: u64 = 1_000_000_000;

impl TokenBucket {
    /// Takes `count` tokens and returns true, or takes none and returns false if that would exceed `per_second`. `now`
    /// must not decrease between calls.
    pub(crate) fn try_take(&mut self, count: usize, per_second: u32, now: Duration) -> bool {
        let now = nanoseconds(now);
        // `count` is at most 2^26, the maximum of `max_message_bytes`, so this cannot overflow.
        let until = self.full_at.max(now) + count as u64 * SECOND / u64::from(per_second);
        let allowed = until <= now + SECOND;
        if allowed {
            self.full_at = until;
        }
        allowed
    }

    /// Returns whether the bucket is full, as a new one is.
    pub(in crate::hub) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= nanoseconds(now)
    }
}

/// A `u64` of nanoseconds lasts for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
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
            assert!(bucket.is_full(later));
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
}
