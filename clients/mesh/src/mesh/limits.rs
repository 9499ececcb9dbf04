//! The times and limits of the protocol, and token buckets.

use std::time::{Duration, Instant};

pub(crate) const CONNECT_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
pub(crate) const OPEN_TIMEOUT_AFTER_END: Duration = Duration::from_secs(3);
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The peer with the higher id waits this long for an offer of the peer with the lower id.
pub(crate) const OFFER_DELAY: Duration = Duration::from_millis(2_500);
/// Back-off of attempts between peers, which doubles.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(500);
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(30);
/// Back-off of the WebSocket to the hub, which doubles.
pub(crate) const RECONNECT_MIN: Duration = Duration::from_secs(1);
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// A WebSocket that lasted this long resets the back-off.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(30);
/// Neighbours that leave together cause one `connect`, 50 to 100 % of this time later.
pub(crate) const CONNECT_DELAY: Duration = Duration::from_millis(500);
/// How long a failed attempt with the hub's member waits for attempts that are under way.
pub(crate) const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// An offer does not replace a younger connection.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(5);
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// 12 s: some browsers notice an interruption only after more than 10 s.
pub(crate) const MAX_UNANSWERED_PINGS: u32 = 6;
pub(crate) const PLACE_TIME: Duration = Duration::from_secs(30);
/// By this age of a loss without `bye`, the hub has noticed a dead peer.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(20);
pub(crate) const REMEMBER_FOR: Duration = Duration::from_secs(60);
pub(crate) const METADATA_INTERVAL: Duration = Duration::from_secs(1);
pub(crate) const RESTART_AFTER: Duration = Duration::from_secs(3);
pub(crate) const RESTART_AFTER_HIGHER_ID: Duration = Duration::from_millis(4_500);
pub(crate) const RESTART_INTERVAL: Duration = Duration::from_secs(3);
pub(crate) const RESTART_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) const PIECE_BYTES: usize = 16 * 1024;
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// In UTF-8.
pub(crate) const MAX_CONTROL_BYTES: usize = 64 * 1024;
pub(crate) const MAX_NEAR_ENTRIES: usize = 1_000;
pub(crate) const MAX_EARLY_CANDIDATES: usize = 100;
pub(crate) const MAX_METADATA_BYTES: usize = 4_096;
/// Levels of arrays and objects.
pub(crate) const MAX_METADATA_DEPTH: usize = 64;
pub(crate) const MAX_CHANNELS: usize = 16;
/// In UTF-16 code units.
pub(crate) const MAX_CHANNEL_NAME: usize = 64;
pub(crate) const MAX_PLACES: usize = 8;
pub(crate) const MAX_DISCOVERING: usize = 8;
pub(crate) const MAX_ANSWERING: usize = 64;
pub(crate) const MAX_ANSWERING_PER_RELAY: usize = 16;
/// For joiners from the hub, however many other attempts are pending.
pub(crate) const MIN_JOINER_SLOTS: usize = 16;
pub(crate) const MAX_KNOWN_IDS: usize = 1_000;
pub(crate) const DEFAULT_MAX_PEERS: usize = 64;
/// Receivers read this many entries of `near`.
pub(crate) const MAX_MAX_PEERS: usize = MAX_NEAR_ENTRIES;
/// ICE failures with the only member, which is not evicted after the last one.
pub(crate) const MAX_ICE_FAILURES: u32 = 2;

/// A rate limit: `rate` tokens per second, at most `burst` at once.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    since: Instant,
}

impl TokenBucket {
    pub(crate) fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, since: now }
    }

    /// Takes one token. Returns whether there was one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
        self.since = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// When there will be a token, after `try_take` found none.
    pub(crate) fn next(&self) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0) / self.rate;
        self.since + Duration::from_secs_f64(missing) + Duration::from_millis(1)
    }
}

/// The time before the next attempt: doubles with each failure up to `max`, times 0.5 to 1.
pub(crate) fn back_off(rng: &mut fastrand::Rng, min: Duration, max: Duration, failures: u32) -> Duration {
    jitter(rng, min.saturating_mul(1 << failures.min(16)).min(max))
}

/// A random time from 50 to 100 % of `time`. Peers that fail together must not retry together.
pub(crate) fn jitter(rng: &mut fastrand::Rng, time: Duration) -> Duration {
    time.mul_f64(0.5 + rng.f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_allows_the_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1.0, 3.0, start);
        assert_eq!((0..5).filter(|_| bucket.try_take(start)).count(), 3);
        assert!(!bucket.try_take(start + Duration::from_millis(900)));
        assert!(bucket.try_take(bucket.next()));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..5).filter(|_| bucket.try_take(later)).count(), 3);
    }

    #[test]
    fn back_off_doubles_up_to_its_maximum() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (failures, seconds) in [(0, 0.5), (1, 1.0), (2, 2.0), (6, 30.0), (60, 30.0)] {
            let time = back_off(&mut rng, RETRY_MIN, RETRY_MAX, failures).as_secs_f64();
            assert!(time >= seconds / 2.0 && time <= seconds, "{failures} failures: {time} s");
        }
    }
}
