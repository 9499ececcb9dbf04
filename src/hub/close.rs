//! Why the hub closes a connection, and why a connection ended.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::limits::Cause;
use crate::protocol::{CloseCode, SessionError};
use crate::transport::{CloseFrame, TransportError};

/// The close code and reason for a peer, and the limit or check behind it.
#[derive(Clone, Debug)]
pub(super) struct Close {
    code: CloseCode,
    reason: Cow<'static, str>,
    cause: Option<Cause>,
}

impl Close {
    pub(super) fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), cause: None }
    }

    pub(super) fn by(cause: Cause, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { cause: Some(cause), ..Self::new(code, reason) }
    }

    pub(super) fn draining() -> Self {
        Self::by(Cause::Draining, CloseCode::GoingAway, CloseCode::GoingAway.reason())
    }

    pub(super) fn code(&self) -> CloseCode {
        self.code
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Returns the close frame, with the reason cut to the length that RFC 6455 allows.
    pub(super) fn to_frame(&self) -> CloseFrame {
        CloseFrame::new(self.code.as_u16(), self.reason.clone())
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self::new(code, code.reason())
    }
}

impl From<SessionError> for Close {
    fn from(error: SessionError) -> Self {
        let cause = match error {
            SessionError::TooManyMembers { .. } => Some(Cause::MaxMembersPerConnect),
            SessionError::HeartbeatTimeout { .. } => Some(Cause::MaxMissedHeartbeats),
            SessionError::Wire(_) => None,
        };
        Self { cause, ..Self::new(error.close_code(), error.to_string()) }
    }
}

/// Why a peer's connection ended. None of these is an error of the app.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The peer closed the connection, with or without a close frame.
    #[non_exhaustive]
    ClosedByPeer {
        /// The close code that the peer sent: one of RFC 6455, or the app's own.
        code: Option<u16>,
    },
    /// The hub closed the connection.
    #[non_exhaustive]
    ClosedByHub {
        /// The close code that the peer received.
        code: CloseCode,
        /// The close reason that the peer received.
        reason: Arc<str>,
        /// The limit, deadline or check that the peer exceeded or failed, if there was one.
        cause: Option<Cause>,
    },
    /// The connection failed.
    ConnectionLost(Arc<TransportError>),
    /// The app dropped the future that served the peer.
    Cancelled,
}

impl From<&Close> for DisconnectReason {
    fn from(close: &Close) -> Self {
        Self::ClosedByHub { code: close.code, reason: close.to_frame().reason.into(), cause: close.cause }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByPeer { code: Some(code) } => write!(f, "closed by peer with {code}"),
            Self::ClosedByPeer { code: None } => f.write_str("closed by peer without a code"),
            Self::ClosedByHub { code, reason, .. } => write!(f, "closed by hub with {}: {reason}", code.as_u16()),
            Self::ConnectionLost(error) => write!(f, "connection lost: {error}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}
