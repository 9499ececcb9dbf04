//! Why a client's connection ended, and whether to reconnect.

use crate::protocol::CloseCode;
use crate::transport::{CloseFrame, Frame, TransportError};

/// The reason that a [`Client`](super::Client) cannot be used any longer. [`ClientError::retry`] tells what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The hub closed the connection, with the code and reason of its close frame if it sent them. [`CloseCode`] lists
    /// the codes.
    #[error("the hub closed the connection{}", describe(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    /// Nothing arrived from the hub for 15 s. A hub sends a heartbeat every 5 s.
    #[error("nothing arrived from the hub for 15 s")]
    HeartbeatTimeout,
    /// The hub sent a frame that is not part of the protocol. The server is not a sigver hub.
    #[error("the hub sent an invalid frame")]
    Invalid(Frame),
    /// Too many events arrived while [`Client::connect`](super::Client::connect) waited for its answer.
    #[error("more than {} events arrived before the answer to connect", super::MAX_EARLY_EVENTS)]
    TooManyEvents,
    /// The connection ended without a close frame, with the transport's error if there was one. An operation on a
    /// client that is finished fails with `ConnectionLost(None)`.
    #[error("connection lost")]
    ConnectionLost(#[source] Option<TransportError>),
}

/// When to reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "every caller must handle each of the three")]
pub enum Retry {
    /// Do not reconnect: the next attempt would end in the same way.
    Never,
    /// Reconnect without a delay.
    Now,
    /// Reconnect after a delay. The delay should be random and grow with every failure, so that the clients of a
    /// restarted server do not all reconnect at once.
    Later,
}

impl ClientError {
    /// Returns when to reconnect.
    ///
    /// | error | retry |
    /// |---|---|
    /// | closed with 4744: the member was evicted, and the group goes on without it | [`Retry::Now`] |
    /// | closed with 1000, 1001, 1011 to 1014 or 4742, or without a code | [`Retry::Later`] |
    /// | [`HeartbeatTimeout`](Self::HeartbeatTimeout), [`ConnectionLost`](Self::ConnectionLost), [`TooManyEvents`](Self::TooManyEvents) | [`Retry::Later`] |
    /// | closed with any other code, which includes the app's own codes | [`Retry::Never`] |
    /// | [`Invalid`](Self::Invalid) | [`Retry::Never`] |
    ///
    /// ```
    /// use sigver::CloseFrame;
    /// use sigver::client::{ClientError, Retry};
    ///
    /// let overloaded = ClientError::Closed(Some(CloseFrame::new(1013, "try again later")));
    /// assert_eq!(overloaded.retry(), Retry::Later);
    /// ```
    pub fn retry(&self) -> Retry {
        const EVICTED: u16 = CloseCode::BlockingMember.as_u16();
        const MISSED_HEARTBEATS: u16 = CloseCode::Heartbeat.as_u16();
        match self {
            Self::Closed(Some(frame)) => match frame.code {
                EVICTED => Retry::Now,
                1000 | 1001 | 1011..=1014 | MISSED_HEARTBEATS => Retry::Later,
                _ => Retry::Never,
            },
            Self::Closed(None) | Self::HeartbeatTimeout | Self::TooManyEvents | Self::ConnectionLost(_) => Retry::Later,
            Self::Invalid(_) => Retry::Never,
        }
    }
}

/// The code and reason in the error's text.
fn describe(frame: Option<&CloseFrame>) -> String {
    match frame {
        None => String::new(),
        Some(CloseFrame { code, reason }) if reason.is_empty() => format!(" with {code}"),
        Some(CloseFrame { code, reason }) => format!(" with {code}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> ClientError {
        ClientError::Closed(Some(CloseFrame::new(code, "")))
    }

    #[test]
    fn only_an_eviction_allows_an_immediate_retry() {
        let now: Vec<_> = (1000..5000).filter(|&code| closed(code).retry() == Retry::Now).collect();
        assert_eq!(now, [4744]);
    }

    #[test]
    fn retry_is_later_after_closes_whose_cause_may_pass_by_itself() {
        let later: Vec<_> = (1000..5000).filter(|&code| closed(code).retry() == Retry::Later).collect();
        assert_eq!(later, [1000, 1001, 1011, 1012, 1013, 1014, 4742]);
    }

    #[test]
    fn retry_is_later_after_an_end_without_a_code() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for error in [
            ClientError::Closed(None),
            ClientError::HeartbeatTimeout,
            ClientError::TooManyEvents,
            ClientError::ConnectionLost(None),
            ClientError::ConnectionLost(Some(lost.into())),
        ] {
            assert_eq!(error.retry(), Retry::Later, "{error}");
        }
    }

    #[test]
    fn invalid_frame_allows_no_retry() {
        assert_eq!(ClientError::Invalid(Frame::Text("text".to_owned())).retry(), Retry::Never);
    }

    #[test]
    fn error_text_has_the_close_code_and_reason_but_no_payload() {
        let error = ClientError::Closed(Some(CloseFrame::new(1013, "peer limit reached (2000)")));
        assert_eq!(error.to_string(), "the hub closed the connection with 1013: peer limit reached (2000)");
        assert_eq!(closed(4744).to_string(), "the hub closed the connection with 4744");
        assert_eq!(ClientError::Closed(None).to_string(), "the hub closed the connection");
        let error = ClientError::Invalid(Frame::Text("secret".to_owned()));
        assert_eq!(error.to_string(), "the hub sent an invalid frame");
    }
}
