//! The codes that a socket is closed with.

use std::fmt;

/// Why a peer's socket was closed, as the WebSocket close code that it sees.
///
/// The codes from 4741 to 4745 are those of npm's `sigver` 20.1.0, [`CloseCode::App`] is the app's; the others are
/// RFC 6455's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1001: the server goes away; come back, perhaps elsewhere.
    GoingAway,
    /// 1002: a frame that breaks RFC 6455.
    ProtocolError,
    /// 1008: refused by a limit or a policy of this server.
    Policy,
    /// 1009: a message over the limit.
    TooBig,
    /// 1011: a bug in the server.
    Internal,
    /// 1013: overloaded, or this peer reads too slowly; try again later.
    TryAgainLater,
    /// 4741 `ERR_KEY`: the group's key is empty or too long.
    Key,
    /// 4742 `ERR_HEARTBEAT`: three heartbeats missed.
    Heartbeat,
    /// 4743 `ERR_MESSAGE`: a text message, bytes that are no `Message`, or a `Message` with no known type.
    Message,
    /// 4744 `ERR_BLOCKING_MEMBER`: the only member did not let a joiner in, and was replaced.
    BlockingMember,
    /// 4745 `ERR_URL`: the URL cannot be read.
    Url,
    /// 4000 to 4999: what the app means by it, see [`CloseCode::app`].
    App(AppCode),
}

/// A close code that the app has given a meaning: 4000 to 4999, as RFC 6455 section 7.4.2 leaves them to apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppCode(u16);

impl CloseCode {
    /// The number that goes over the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::TryAgainLater => 1013,
            Self::Key => 4741,
            Self::Heartbeat => 4742,
            Self::Message => 4743,
            Self::BlockingMember => 4744,
            Self::Url => 4745,
            Self::App(AppCode(code)) => code,
        }
    }

    /// A code of the app's own. Browsers see it as the close event's `code`.
    ///
    /// ```
    /// use sigver::protocol::CloseCode;
    ///
    /// const BANNED: CloseCode = CloseCode::app(4001);
    /// assert_eq!(BANNED.code(), 4001);
    /// ```
    ///
    /// # Panics
    /// When it is not within 4000 to 4999, or is one of the protocol's: 4741 to 4745.
    pub const fn app(code: u16) -> Self {
        assert!(matches!(code, 4000..=4740 | 4746..=4999), "an app's close codes are 4000 to 4740 and 4746 to 4999");
        Self::App(AppCode(code))
    }

    /// What the hub says as the close reason unless it has something more exact to say. At most 123 bytes, as
    /// RFC 6455 section 5.5 allows.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "the server is going away",
            Self::ProtocolError => "a frame breaks RFC 6455",
            Self::Policy => "refused by policy",
            Self::TooBig => "message too big",
            Self::Internal => "internal error, come back",
            Self::TryAgainLater => "too slow or overloaded, try again later",
            Self::Key => "the key has to have 1 to 512 bytes",
            Self::Heartbeat => "missed 3 heartbeats",
            Self::Message => "not a binary protobuf Message of a known type",
            Self::BlockingMember => "the only member did not let a joiner in",
            Self::Url => "the key has to be percent-encoded UTF-8",
            Self::App(_) => "closed by the app",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_number_of_the_protocol_and_a_reason_that_fits_a_close_frame() {
        let table = [
            (CloseCode::GoingAway, 1001),
            (CloseCode::ProtocolError, 1002),
            (CloseCode::Policy, 1008),
            (CloseCode::TooBig, 1009),
            (CloseCode::Internal, 1011),
            (CloseCode::TryAgainLater, 1013),
            (CloseCode::Key, 4741),
            (CloseCode::Heartbeat, 4742),
            (CloseCode::Message, 4743),
            (CloseCode::BlockingMember, 4744),
            (CloseCode::Url, 4745),
            (CloseCode::app(4000), 4000),
            (CloseCode::app(4999), 4999),
        ];
        for (code, number) in table {
            assert_eq!(code.code(), number);
            assert!(code.reason().len() <= 123, "{code}");
        }
    }
}
