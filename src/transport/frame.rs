//! One message of a socket, in no framework's type.

use bytes::Bytes;

/// One WebSocket message or control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// A binary message: the only kind that the protocol knows.
    Binary(Bytes),
    /// A text message: a peer that sends one is closed with 4743.
    Text(String),
    /// A ping, answered by the transport itself.
    Ping(Bytes),
    /// An answer to a ping.
    Pong(Bytes),
    /// The other end closes, or is to be told that this one does.
    Close(Option<CloseFrame>),
}

impl Frame {
    /// The bytes of its payload, those of a close code apart.
    pub(crate) fn payload_len(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::Close(frame) => frame.as_ref().map_or(0, |frame| frame.reason.len()),
        }
    }
}

/// Why a socket is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseFrame {
    /// RFC 6455 section 7.4: 1000 to 4999.
    pub code: u16,
    /// For humans; at most 123 bytes.
    pub reason: String,
}

impl CloseFrame {
    /// The longest reason that fits a frame, in bytes: RFC 6455 section 5.5 allows 125, and the code takes two.
    pub const MAX_REASON_BYTES: usize = 123;

    /// A close frame. A reason over [`CloseFrame::MAX_REASON_BYTES`] is cut, between two characters: sent whole it
    /// would make an illegal frame.
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
    fn a_close_reason_fits_its_frame() {
        assert_eq!(CloseFrame::new(1000, "x".repeat(123)).reason.len(), 123);
        assert_eq!(CloseFrame::new(1000, "x".repeat(124)).reason.len(), 123);
        assert_eq!(CloseFrame::new(1000, "é".repeat(62)).reason, "é".repeat(61));
    }
}
