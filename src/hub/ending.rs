//! Why a peer is no longer served.

use std::fmt;

use super::Guard;
use crate::protocol::CloseCode;
use crate::transport::TransportError;

/// How a peer's time with the hub ended. None of these is an error of the app.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The peer closed its socket, with this code if it gave one, or went away without a word.
    #[non_exhaustive]
    Left {
        /// RFC 6455's or the app's own.
        code: Option<u16>,
    },
    /// The hub closed it.
    #[non_exhaustive]
    Closed {
        /// The code that the peer was sent.
        code: CloseCode,
        /// The reason that the peer was sent.
        reason: String,
        /// The limit, deadline or check that the peer did not pass, if it was one.
        guard: Option<Guard>,
    },
    /// Its socket failed.
    Lost(TransportError),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left { code: Some(code) } => write!(f, "left with {code}"),
            Self::Left { code: None } => f.write_str("left without a code"),
            Self::Closed { code, reason, .. } => write!(f, "closed with {}: {reason}", code.code()),
            Self::Lost(error) => write!(f, "lost: {error}"),
        }
    }
}
