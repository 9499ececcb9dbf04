//! How a socket fails.

use std::convert::Infallible;
use std::error::Error;
use std::io;

/// Why a transport cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer sent a message over the limit. It is closed with 1009.
    #[error("a message over the limit")]
    TooBig(#[source] Box<dyn Error + Send + Sync>),
    /// The peer broke the framing, RFC 6455's for a WebSocket. It is closed with 1002.
    #[error("a frame that breaks the framing")]
    Malformed(#[source] Box<dyn Error + Send + Sync>),
    /// The peer sent more than anybody has to read. It is closed with 1008.
    #[error("more frames than a peer may send")]
    Flooded,
    /// The socket is gone: there is nobody to send a close code to.
    #[error("the socket is gone")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.into())
    }
}

impl From<Infallible> for TransportError {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}
