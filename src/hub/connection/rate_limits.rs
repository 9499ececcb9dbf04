//! The rates of one peer, and its share in the rates of its client IP.

use std::time::Duration;

use crate::hub::admission::ip_limiter::IpSlot;
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::{Config, connect_tokens, ids_work, message_work};
use crate::hub::limits::token_bucket::TokenBucket;
use crate::protocol::CloseCode;

/// The work that a future does before it yields to other tasks, in the unit of [`message_work`]. The last frame may
/// exceed it.
pub(super) const READ_BUDGET: usize = 64;

/// The payload bytes after which a future yields, even if it has done less work.
const READ_BUDGET_BYTES: usize = 32 * 1024;

/// Limits how much one peer sends. Exceeding a limit closes the peer: dropping or delaying its messages would break
/// WebRTC negotiations and heartbeats in ways that are hard to diagnose. The close code allows the peer to reconnect
/// later, because a correct client can exceed a rate, for example after its device was suspended.
#[derive(Debug, Default)]
pub(super) struct PeerRateLimiter {
    messages: TokenBucket,
    bytes: TokenBucket,
    connects: TokenBucket,
}

/// What one poll of a peer's future read.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// When the first frame was read, on the hub's clock.
    since: Option<Duration>,
    /// In the unit of [`message_work`].
    work: usize,
    bytes: usize,
}

impl PeerRateLimiter {
    /// Counts a frame of any kind, with the length of its payload.
    pub(super) fn count_message(&mut self, bytes: usize, config: &Config, now: Duration) -> Result<(), Close> {
        if !self.messages.try_take(1, config.messages_per_second, now) {
            return Err(Close::too_many_messages(config));
        }
        if !self.bytes.try_take(bytes, config.bytes_per_second, now) {
            let reason = format!("more than {} bytes per second", config.bytes_per_second);
            return Err(Close::by(Cause::BytesPerSecond, CloseCode::TryAgainLater, reason));
        }
        Ok(())
    }

    /// Counts a `connect`.
    pub(super) fn count_connect(&mut self, named_ids: usize, config: &Config, now: Duration) -> Result<(), Close> {
        if !self.connects.try_take(connect_tokens(named_ids), config.connects_per_second, now) {
            let reason = format!(
                "more than {} connects per second; every 64 named ids count as one more",
                config.connects_per_second
            );
            return Err(Close::by(Cause::ConnectsPerSecond, CloseCode::TryAgainLater, reason));
        }
        Ok(())
    }
}

impl Received {
    /// Adds a frame. Returns the time of the first one.
    pub(super) fn add(&mut self, bytes: usize, clock: impl FnOnce() -> Duration) -> Duration {
        self.work += message_work(bytes);
        self.bytes += bytes;
        *self.since.get_or_insert_with(clock)
    }

    /// Adds the ids that the last frame names, if it is a `connect`.
    pub(super) fn add_ids(&mut self, named_ids: usize) {
        self.work += ids_work(named_ids);
    }

    /// Returns whether the future must yield to other tasks.
    pub(super) fn exhausts_budget(&self) -> bool {
        self.work >= READ_BUDGET || self.bytes >= READ_BUDGET_BYTES
    }

    /// Counts all frames against the limits of the peer's client IP, if that is known.
    pub(super) fn count(&self, ip_slot: Option<&IpSlot>, config: &Config) -> Result<(), Close> {
        match (self.since, ip_slot) {
            (Some(now), Some(ip_slot)) => ip_slot.count_received(self.work, self.bytes, config, now),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::hub::admission::ip_limiter::IpLimiter;

    #[tokio::test(start_paused = true)]
    async fn messages_per_ip_count_one_more_for_every_8_kib_and_for_every_64_ids() {
        let config = Config { messages_per_second_per_ip: 90, ..Config::default() };
        for (bytes, named_ids, allowed) in
            [(0, 0, 90), (8191, 63, 90), (8192, 0, 45), (0, 64, 45), (0, 512, 10), (60_000, 0, 11), (8192, 64, 30)]
        {
            for (messages, exceeds) in [(allowed, false), (allowed + 1, true)] {
                let limiter = Arc::new(IpLimiter::new(Instant::now()));
                let connection = limiter.connect([192, 0, 2, 1].into());
                let slot = connection.join(&config, Duration::ZERO).expect("the first peer of this IP");
                // The hub's clock stands still, so the rate allows its burst only.
                let counted = (0..messages).try_for_each(|_| {
                    let mut received = Received::default();
                    received.add(bytes, || Duration::ZERO);
                    received.add_ids(named_ids);
                    received.count(Some(&slot), &config)
                });
                let cause = counted.err().and_then(|close| close.cause());
                let expected = exceeds.then_some(Cause::MessagesPerSecondPerIp);
                assert_eq!(cause, expected, "{messages} messages of {bytes} bytes that name {named_ids} ids");
            }
        }
    }

    #[test]
    fn peer_may_send_its_rates_at_once_and_not_one_more() {
        let config =
            Config { messages_per_second: 3, bytes_per_second: 100, connects_per_second: 4, ..Config::default() };
        let limiter = PeerRateLimiter::default;
        let cause = |counted: Result<(), Close>| counted.err().and_then(|close| close.cause());

        let mut messages = limiter();
        let mut count_message = |bytes| cause(messages.count_message(bytes, &config, Duration::ZERO));
        assert_eq!([(); 3].map(|()| count_message(0)), [None; 3]);
        assert_eq!(count_message(0), Some(Cause::MessagesPerSecond));

        let mut bytes = limiter();
        let mut count_message = |count| cause(bytes.count_message(count, &config, Duration::ZERO));
        assert_eq!([count_message(60), count_message(40)], [None; 2]);
        assert_eq!(count_message(1), Some(Cause::BytesPerSecond));

        let mut connects = limiter();
        let mut count_connect = |named_ids| cause(connects.count_connect(named_ids, &config, Duration::ZERO));
        assert_eq!([count_connect(0), count_connect(64), count_connect(63)], [None; 3]);
        assert_eq!(count_connect(0), Some(Cause::ConnectsPerSecond));
    }

    #[test]
    fn frames_of_one_poll_count_at_the_time_of_the_first() {
        let mut received = Received::default();
        for second in [1, 2, 3] {
            assert_eq!(received.add(0, || Duration::from_secs(second)), Duration::from_secs(1));
        }
    }
}
