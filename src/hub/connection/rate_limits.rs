//! How much one peer may send.

use std::time::Duration;

use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::token_bucket::TokenBucket;
use crate::protocol::CloseCode;

/// What a peer has sent lately. Sending more than it may closes it: what is dropped in silence, or kept waiting behind
/// a flood with the heartbeats, would break a handshake that nobody can explain then.
#[derive(Debug, Default)]
pub(in crate::hub) struct PeerRateLimiter {
    messages: TokenBucket,
    bytes: TokenBucket,
    connects: TokenBucket,
}

impl PeerRateLimiter {
    /// Counts a message of so many bytes, whatever is in it.
    pub(in crate::hub) fn take_message(&mut self, bytes: usize, config: &Config, now: Duration) -> Result<(), Close> {
        if !self.messages.try_take(1, config.messages_per_second, now) {
            return Err(Self::too_many_messages(config));
        }
        if !self.bytes.try_take(bytes, config.bytes_per_second, now) {
            return Err(over(Cause::BytesPerSecond, format!("more than {} bytes", config.bytes_per_second)));
        }
        Ok(())
    }

    pub(in crate::hub) fn take_connect(&mut self, config: &Config, now: Duration) -> Result<(), Close> {
        if !self.connects.try_take(1, config.connects_per_second, now) {
            return Err(over(Cause::ConnectsPerSecond, format!("more than {} connects", config.connects_per_second)));
        }
        Ok(())
    }

    pub(in crate::hub) fn too_many_messages(config: &Config) -> Close {
        over(Cause::MessagesPerSecond, format!("more than {} messages", config.messages_per_second))
    }
}

fn over(cause: Cause, what: String) -> Close {
    Close::by(cause, CloseCode::Policy, format!("{what} a second"))
}
