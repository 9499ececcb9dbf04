//! The token buckets of one peer.

use std::time::Duration;

use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::{Config, connect_tokens};
use crate::hub::limits::token_bucket::TokenBucket;
use crate::protocol::CloseCode;

/// Limits how much one peer sends. Exceeding a limit closes the peer: dropping or delaying its messages would break
/// WebRTC negotiations and heartbeats in ways that are hard to diagnose.
#[derive(Debug, Default)]
pub(super) struct PeerRateLimiter {
    messages: TokenBucket,
    bytes: TokenBucket,
    connects: TokenBucket,
}

impl PeerRateLimiter {
    /// Counts a frame of any kind, with the length of its payload.
    pub(super) fn count_message(&mut self, bytes: usize, config: &Config, now: Duration) -> Result<(), Close> {
        if !self.messages.try_take(1, config.messages_per_second, now) {
            return Err(Close::too_many_messages(config));
        }
        if !self.bytes.try_take(bytes, config.bytes_per_second, now) {
            let reason = format!("more than {} bytes per second", config.bytes_per_second);
            return Err(Close::by(Cause::BytesPerSecond, CloseCode::Policy, reason));
        }
        Ok(())
    }

    /// Counts a `connect`.
    pub(super) fn count_connect(&mut self, named_ids: usize, config: &Config, now: Duration) -> Result<(), Close> {
        if !self.connects.try_take(connect_tokens(named_ids), config.connects_per_second, now) {
            let reason = format!("more than {} connects or 64 named ids per second", config.connects_per_second);
            return Err(Close::by(Cause::ConnectsPerSecond, CloseCode::Policy, reason));
        }
        Ok(())
    }
}
