//! The error of a transport.

use std::convert::Infallible;
use std::error::Error;
use std::io;

/// Why a transport can no longer receive or send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer sent a message over the maximum size. The hub closes it with 1009.
    #[error("message too big")]
    MessageTooBig(#[source] Box<dyn Error + Send + Sync>),
    /// The peer sent a malformed frame; for a WebSocket, one that violates RFC 6455. The hub closes it with 1002.
    #[error("malformed frame")]
    Malformed(#[source] Box<dyn Error + Send + Sync>),
    /// The peer exceeded its frame rate. The hub closes it with 1013.
    #[error("frame rate exceeded")]
    TooManyFrames,
    /// The connection failed. No close frame can be sent.
    #[error("connection lost")]
    ConnectionLost(#[source] Box<dyn Error + Send + Sync>),
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::ConnectionLost(error.into())
    }
}

impl From<Infallible> for TransportError {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}
