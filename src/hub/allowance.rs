//! How much one peer may send.

use std::time::Duration;

use super::closing::Closing;
use super::rate::Bucket;
use super::{Guard, Limits};
use crate::protocol::CloseCode;

/// What a peer has sent lately. Sending more than it may closes it: what is dropped in silence, or kept waiting behind
/// a flood with the heartbeats, would break a handshake that nobody can explain then.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    messages: Bucket,
    bytes: Bucket,
    connects: Bucket,
}

impl Allowance {
    /// Counts a message of so many bytes, whatever is in it.
    pub(super) fn take_message(&mut self, bytes: usize, limits: &Limits, now: Duration) -> Result<(), Closing> {
        if !self.messages.take(1, limits.messages_per_second, now) {
            return Err(Self::too_many_messages(limits));
        }
        if !self.bytes.take(bytes, limits.bytes_per_second, now) {
            return Err(over(Guard::BytesPerSecond, format!("more than {} bytes", limits.bytes_per_second)));
        }
        Ok(())
    }

    pub(super) fn take_connect(&mut self, limits: &Limits, now: Duration) -> Result<(), Closing> {
        if !self.connects.take(1, limits.connects_per_second, now) {
            return Err(over(Guard::ConnectsPerSecond, format!("more than {} connects", limits.connects_per_second)));
        }
        Ok(())
    }

    pub(super) fn too_many_messages(limits: &Limits) -> Closing {
        over(Guard::MessagesPerSecond, format!("more than {} messages", limits.messages_per_second))
    }
}

fn over(guard: Guard, what: String) -> Closing {
    Closing::by(guard, CloseCode::Policy, format!("{what} a second"))
}
