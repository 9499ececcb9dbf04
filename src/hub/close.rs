//! Why the hub closes a connection, and why a connection ended.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::limits::Cause;
use super::limits::config::Config;
use crate::protocol::{CloseCode, SessionError};
use crate::transport::{CloseFrame, TransportError};

/// The hub's decision to close a connection. When the connection ends, it becomes a [`DisconnectReason::ClosedByHub`].
#[derive(Clone, Debug)]
pub(super) struct Close {
    code: CloseCode,
    reason: Cow<'static, str>,
    cause: Option<Cause>,
    /// The app composed the reason, so it may contain a key or a token.
    is_apps_text: bool,
}

impl Close {
    /// Creates a close without a cause: no limit, deadline or check led to it.
    pub(super) fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), cause: None, is_apps_text: false }
    }

    /// Creates a close whose code and reason are those of the app.
    pub(super) fn by_app(code: CloseCode, reason: impl Into<String>) -> Self {
        let reason = CloseFrame::new(code.as_u16(), reason).reason;
        Self { is_apps_text: true, ..Self::new(code, reason) }
    }

    pub(super) fn by(cause: Cause, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { cause: Some(cause), ..Self::new(code, reason) }
    }

    /// Creates a close that another node has decided on. That node may have limits that this one does not know.
    #[cfg(feature = "cluster")]
    pub(super) fn by_other_node(code: CloseCode, reason: String, cause: &str) -> Self {
        let cause = Cause::ALL.iter().copied().find(|known| known.as_str() == cause);
        Self { cause, ..Self::new(code, reason) }
    }

    pub(super) fn draining() -> Self {
        Self::by(Cause::Draining, CloseCode::GoingAway, CloseCode::GoingAway.reason())
    }

    pub(super) fn message_too_big(config: &Config) -> Self {
        let reason = format!("message exceeds {} bytes", config.max_message_bytes);
        Self::by(Cause::MaxMessageBytes, CloseCode::TooBig, reason)
    }

    pub(super) fn too_many_messages(config: &Config) -> Self {
        let reason = format!("more than {} messages per second", config.messages_per_second);
        Self::by(Cause::MessagesPerSecond, CloseCode::TryAgainLater, reason)
    }

    /// Creates the close of a peer whose outbox is full.
    pub(super) fn outbox_full(cause: Cause, config: &Config) -> Self {
        let full = full_outbox("outbox is", cause, config);
        Self::by(cause, CloseCode::TryAgainLater, format!("{full}; must be read faster"))
    }

    /// Creates the close of a peer that sent more than half of what a full outbox of another peer holds.
    pub(super) fn filled_outbox(cause: Cause, config: &Config) -> Self {
        // Whether all outboxes together are full depends on other peers, so the peer may try again.
        let code = if cause == Cause::MaxTotalOutboxBytes { CloseCode::TryAgainLater } else { CloseCode::Policy };
        let full = full_outbox("outbox of a receiver is", cause, config);
        Self::by(cause, code, format!("{full}, mostly from this peer; must send more slowly"))
    }

    pub(super) fn code(&self) -> CloseCode {
        self.code
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the reason if it is a string literal.
    pub(super) fn static_reason(&self) -> Option<&'static str> {
        match self.reason {
            Cow::Borrowed(reason) => Some(reason),
            Cow::Owned(_) => None,
        }
    }

    /// Returns whether logs must omit the reason.
    pub(super) fn is_apps_text(&self) -> bool {
        self.is_apps_text
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause
    }
}

fn full_outbox(outbox_is: &str, cause: Cause, config: &Config) -> String {
    match cause {
        Cause::MaxOutboxMessages => format!("{outbox_is} over {} messages", config.max_outbox_messages),
        Cause::MaxOutboxBytes => format!("{outbox_is} over {} bytes", config.max_outbox_bytes),
        _ => format!("all outboxes are over {} bytes", config.max_total_outbox_bytes),
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
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "type", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The peer closed the connection, with or without a close frame.
    #[non_exhaustive]
    ClosedByPeer {
        /// The close code that the peer sent: one of RFC 6455, or one of the app. `None` if its close frame has no code,
        /// or if the connection ended without a close frame.
        code: Option<u16>,
    },
    /// The hub closed the connection.
    #[non_exhaustive]
    ClosedByHub {
        /// The close code that the hub sent.
        code: CloseCode,
        /// The close reason that the hub sent, at most [`CloseFrame::MAX_REASON_BYTES`] long.
        reason: Arc<str>,
        /// The limit, deadline or check that the peer exceeded or failed, if there was one.
        cause: Option<Cause>,
    },
    /// The connection failed.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize_error"))]
    ConnectionLost(Arc<TransportError>),
    /// The app dropped the future that served the peer.
    Cancelled,
}

/// Serializes the text of the connection's error.
#[cfg(feature = "serde")]
fn serialize_error<S: serde::Serializer>(error: &TransportError, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let source = std::error::Error::source(error);
    let mut fields = serializer.serialize_struct("ConnectionLost", 1)?;
    fields.serialize_field("error", &source.map_or_else(|| error.to_string(), ToString::to_string))?;
    fields.end()
}

impl DisconnectReason {
    /// Returns the reason for a read or a write that failed. The hub closes a peer that violates a limit or RFC 6455.
    pub(super) fn from_transport_error(error: TransportError, config: &Config) -> Self {
        match error {
            TransportError::MessageTooBig(_) => Close::message_too_big(config).into(),
            TransportError::TooManyFrames => Close::too_many_messages(config).into(),
            TransportError::Malformed(_) => Close::from(CloseCode::ProtocolError).into(),
            TransportError::ConnectionLost(_) => Self::ConnectionLost(Arc::new(error)),
        }
    }
}

impl From<Close> for DisconnectReason {
    fn from(close: Close) -> Self {
        let Close { code, reason, cause, is_apps_text: _ } = close;
        Self::ClosedByHub { code, reason: CloseFrame::new(code.as_u16(), reason).reason.into(), cause }
    }
}

impl DisconnectReason {
    /// Returns the limit, deadline or check that the peer exceeded or failed, if the hub closed it for one.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::ClosedByHub { cause, .. } => *cause,
            _ => None,
        }
    }

    /// Returns the text for logs. `is_apps_text`: it omits the reason of a close, because the app composed it.
    pub(super) fn loggable(&self, is_apps_text: bool) -> impl fmt::Display {
        LoggableReason { reason: self, is_apps_text }
    }
}

struct LoggableReason<'a> {
    reason: &'a DisconnectReason,
    is_apps_text: bool,
}

impl fmt::Display for LoggableReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            DisconnectReason::ClosedByHub { code, .. } if self.is_apps_text => {
                write!(f, "closed by hub with {}", code.as_u16())
            }
            reason => reason.fmt(f),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByPeer { code: Some(code) } => write!(f, "closed by peer with {code}"),
            Self::ClosedByPeer { code: None } => f.write_str("closed by peer without a code"),
            Self::ClosedByHub { code, reason, .. } => write!(f, "closed by hub with {}: {reason}", code.as_u16()),
            Self::ConnectionLost(error) => write!(f, "{error}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_of_full_outbox_names_the_limit_and_is_never_truncated() {
        let reasons = |cause, config: &Config| {
            [Close::outbox_full(cause, config), Close::filled_outbox(cause, config)]
                .map(|close| close.reason().to_owned())
        };
        let config = Config::default();
        assert_eq!(
            reasons(Cause::MaxOutboxBytes, &config),
            [
                "outbox is over 262144 bytes; must be read faster",
                "outbox of a receiver is over 262144 bytes, mostly from this peer; must send more slowly",
            ],
        );
        let [full, _] = reasons(Cause::MaxTotalOutboxBytes, &config);
        assert_eq!(full, "all outboxes are over 268435456 bytes; must be read faster");
        let [full, _] = reasons(Cause::MaxOutboxMessages, &config);
        assert_eq!(full, "outbox is over 256 messages; must be read faster");

        let max = usize::MAX;
        let largest = Config {
            max_outbox_messages: max,
            max_outbox_bytes: max,
            max_total_outbox_bytes: max,
            ..Config::default()
        };
        for cause in [Cause::MaxOutboxMessages, Cause::MaxOutboxBytes, Cause::MaxTotalOutboxBytes] {
            for reason in reasons(cause, &largest) {
                assert!(reason.len() <= CloseFrame::MAX_REASON_BYTES, "{reason}");
            }
        }
    }

    #[test]
    fn sender_that_fills_all_outboxes_may_try_again_but_not_one_that_fills_an_outbox() {
        let code = |cause| Close::filled_outbox(cause, &Config::default()).code();
        assert_eq!(code(Cause::MaxTotalOutboxBytes), CloseCode::TryAgainLater);
        assert_eq!(code(Cause::MaxOutboxBytes), CloseCode::Policy);
        assert_eq!(code(Cause::MaxOutboxMessages), CloseCode::Policy);
    }

    #[test]
    fn close_for_an_error_of_the_session_names_the_exceeded_limit() {
        let cause = |error: SessionError| Close::from(error).cause();
        assert_eq!(cause(SessionError::TooManyMembers { count: 2, max: 1 }), Some(Cause::MaxMembersPerConnect));
        assert_eq!(cause(SessionError::HeartbeatTimeout { missed: 3 }), Some(Cause::MaxMissedHeartbeats));
    }

    #[test]
    fn only_a_reason_that_is_a_literal_is_static() {
        assert_eq!(Close::new(CloseCode::Policy, "a literal").static_reason(), Some("a literal"));
        assert_eq!(Close::new(CloseCode::Policy, "composed".to_owned()).static_reason(), None);
    }

    #[test]
    fn display_of_a_disconnect_reason_tells_which_side_closed_and_why() {
        let [with_code, without_code] = [Some(1000), None].map(|code| DisconnectReason::ClosedByPeer { code });
        for (reason, expected) in [
            (with_code, "closed by peer with 1000"),
            (without_code, "closed by peer without a code"),
            (Close::new(CloseCode::Policy, "text message").into(), "closed by hub with 1008: text message"),
            (DisconnectReason::Cancelled, "cancelled"),
        ] {
            assert_eq!(reason.to_string(), expected);
        }
    }
}
