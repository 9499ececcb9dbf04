//! A token bucket.

use std::time::Duration;

/// How much of something has come lately. Full, it holds what is allowed in one second.
///
/// It is the generic cell rate algorithm: one number says when the bucket will be empty again, so nothing has to run
/// in between, and an idle bucket is worth nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenBucket {
    /// On the hub's clock, in nanoseconds.
    empty_at: u64,
}

const SECOND: u64 = 1_000_000_000;

impl TokenBucket {
    /// Takes so many, or nothing and false when that would be over `per_second`. The clock goes forward only.
    pub(crate) fn try_take(&mut self, count: usize, per_second: u32, now: Duration) -> bool {
        let now = nanoseconds(now);
        // A message has at most 2^26 bytes, so nothing overflows.
        let until = self.empty_at.max(now) + count as u64 * SECOND / u64::from(per_second);
        let allowed = until <= now + SECOND;
        if allowed {
            self.empty_at = until;
        }
        allowed
    }

    pub(in crate::hub) fn is_empty(&self, now: Duration) -> bool {
        self.empty_at <= nanoseconds(now)
    }
}

/// Enough for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_worth_at_once_and_then_as_much_as_time_brings() {
        for per_second in [1, 3, 1000, 20_000] {
            let mut bucket = TokenBucket::default();
            let start = 100 * SECOND;
            assert!((0..per_second).all(|_| bucket.try_take(1, per_second, start)), "{per_second}");
            assert!(!bucket.try_take(1, per_second, start));
            assert!(!bucket.try_take(1, per_second, start + SECOND / (per_second * 2)));
            assert!(bucket.try_take(1, per_second, start + SECOND / per_second));
            assert!(!bucket.try_take(1, per_second, start + SECOND / per_second));
            let later = start + 3 * SECOND;
            assert!(bucket.is_empty(later));
            assert_eq!(
                (0..2 * per_second).filter(|_| bucket.try_take(1, per_second, later)).count() as u32,
                per_second
            );
        }
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let mut bucket = TokenBucket::default();
        assert!(bucket.try_take(60, 100, SECOND));
        assert!(!bucket.try_take(41, 100, SECOND));
        assert!(bucket.try_take(40, 100, SECOND));
    }
}
