//! The rates of one peer, and its share in the rates of its client IP.

use std::time::Duration;

use crate::hub::admission::ip_limiter::IpSlot;
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::{Config, connect_tokens};
use crate::hub::limits::token_bucket::TokenBucket;
use crate::protocol::CloseCode;

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
    messages: usize,
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
        self.messages += 1;
        self.bytes += bytes;
        *self.since.get_or_insert_with(clock)
    }

    /// Counts all frames against the limits of the peer's client IP, if that is known.
    pub(super) fn count(&self, ip_slot: Option<&IpSlot>, config: &Config) -> Result<(), Close> {
        match (self.since, ip_slot) {
            (Some(now), Some(ip_slot)) => ip_slot.count_received(self.messages, self.bytes, config, now),
            _ => Ok(()),
        }
    }
}
