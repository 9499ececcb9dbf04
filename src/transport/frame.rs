//! WebSocket frames, independent of any framework.

use bytes::Bytes;

/// One WebSocket message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// A binary message, the only kind that the protocol uses.
    Binary(Bytes),
    /// A text message. The hub closes a peer that sends one with 4743.
    Text(String),
    /// A ping. The transport answers it.
    Ping(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// A close frame: starts the close handshake, or answers it.
    Close(Option<CloseFrame>),
}

impl Frame {
    /// Returns the length of the payload, without the code of a close frame.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::Close(frame) => frame.as_ref().map_or(0, |frame| frame.reason.len()),
        }
    }
}

/// The code and reason of a close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseFrame {
    /// The close code: 1000 to 4999, as defined by RFC 6455 section 7.4.
    pub code: u16,
    /// The close reason: at most [`CloseFrame::MAX_REASON_BYTES`] of text for logs.
    pub reason: String,
}

impl CloseFrame {
    /// The maximum length of a reason in bytes. RFC 6455 section 5.5 allows 125 bytes, of which the code takes two.
    pub const MAX_REASON_BYTES: usize = 123;

    /// Creates a close frame. A reason over [`CloseFrame::MAX_REASON_BYTES`] is truncated between two characters,
    /// because the frame would be illegal otherwise.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let fits = (0..=Self::MAX_REASON_BYTES).rev().find(|&end| end >= reason.len() || reason.is_char_boundary(end));
        reason.truncate(fits.unwrap_or_default());
        Self { code, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_close_reason_is_truncated_between_two_characters() {
        assert_eq!(CloseFrame::new(1000, "x".repeat(123)).reason.len(), 123);
        assert_eq!(CloseFrame::new(1000, "x".repeat(124)).reason.len(), 123);
        assert_eq!(CloseFrame::new(1000, "é".repeat(62)).reason, "é".repeat(61));
    }
}
