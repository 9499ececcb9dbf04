//! The codes that close a connection.

use std::fmt;

/// The WebSocket close code that a peer receives.
///
/// The codes from 4741 to 4745 are those of npm's `sigver` 20.1.0, and the codes below 4000 are those of RFC 6455.
/// [`CloseCode::Expired`] is this crate's own.
/// [`CloseCode::App`] belongs to the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// 1001: the server is shutting down. The client can reconnect, perhaps to another server.
    GoingAway,
    /// 1002: a frame violates RFC 6455.
    ProtocolError,
    /// 1008: rejected by a policy of the server, or by a limit that a correct client does not exceed.
    Policy,
    /// 1009: a message exceeds the maximum size.
    TooBig,
    /// 1011: a bug in the server.
    Internal,
    /// 1013: a rate or another limit of the server is exceeded, or the peer is a slow consumer. The client can try again
    /// later.
    TryAgainLater,
    /// 4740: the time until which the app admitted the peer has passed. The client can join again with a fresh key.
    Expired,
    /// 4741 `ERR_KEY`: the group key is empty or too long.
    Key,
    /// 4742 `ERR_HEARTBEAT`: the peer missed too many heartbeats.
    Heartbeat,
    /// 4743 `ERR_MESSAGE`: a text message, bytes that are not a valid `Message`, or a `Message` with no known type.
    Message,
    /// 4744 `ERR_BLOCKING_MEMBER`: the only member did not accept a joiner and was evicted.
    BlockingMember,
    /// 4745 `ERR_URL`: the URL has an invalid percent-escape, or its key is not UTF-8.
    Url,
    /// 4000 to 4999: a code defined by the app, see [`CloseCode::app`].
    App(AppCode),
}

/// A close code defined by the app, in the range that RFC 6455 section 7.4.2 reserves for private use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppCode(u16);

impl CloseCode {
    /// All codes but those of the app.
    const FIXED: [Self; 12] = [
        Self::GoingAway,
        Self::ProtocolError,
        Self::Policy,
        Self::TooBig,
        Self::Internal,
        Self::TryAgainLater,
        Self::Expired,
        Self::Key,
        Self::Heartbeat,
        Self::Message,
        Self::BlockingMember,
        Self::Url,
    ];

    /// Returns the number in the close frame.
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::TryAgainLater => 1013,
            Self::Expired => 4740,
            Self::Key => 4741,
            Self::Heartbeat => 4742,
            Self::Message => 4743,
            Self::BlockingMember => 4744,
            Self::Url => 4745,
            Self::App(AppCode(code)) => code,
        }
    }

    /// Returns the close code with this number. `None` if it is not one that a hub sends.
    ///
    /// ```
    /// use sigver::CloseCode;
    ///
    /// assert_eq!(CloseCode::from_u16(4744), Some(CloseCode::BlockingMember));
    /// assert_eq!(CloseCode::from_u16(1000), None);
    /// ```
    pub fn from_u16(code: u16) -> Option<Self> {
        let fixed = Self::FIXED.into_iter().find(|fixed| fixed.as_u16() == code);
        fixed.or_else(|| (4000..5000).contains(&code).then(|| Self::app(code)))
    }

    /// Creates a close code of the app. Browsers receive it as the close event's `code`.
    ///
    /// ```
    /// use sigver::protocol::CloseCode;
    ///
    /// const BANNED: CloseCode = CloseCode::app(4001);
    /// assert_eq!(BANNED.as_u16(), 4001);
    /// ```
    ///
    /// # Panics
    /// If `code` is not in 4000 to 4999, or is one of the hub's codes, 4740 to 4745.
    pub const fn app(code: u16) -> Self {
        assert!(matches!(code, 4000..=4739 | 4746..=4999), "an app's close code must be 4000 to 4739 or 4746 to 4999");
        Self::App(AppCode(code))
    }

    /// Returns the default close reason, which the hub sends unless it has a more specific one.
    ///
    /// It has at most 123 bytes, the limit of RFC 6455 section 5.5.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "server is going away",
            Self::ProtocolError => "frame violates RFC 6455",
            Self::Policy => "rejected by policy",
            Self::TooBig => "message too big",
            Self::Internal => "internal error",
            Self::TryAgainLater => "server overloaded or peer too slow; try again later",
            Self::Expired => "access has expired; a fresh key is required",
            Self::Key => "group key must be 1 to 512 bytes",
            Self::Heartbeat => "missed too many heartbeats",
            Self::Message => "not a binary protobuf Message of a known type",
            Self::BlockingMember => "the only member did not accept a joiner",
            Self::Url => "group key must be percent-encoded UTF-8",
            Self::App(_) => "closed by the app",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.as_u16(), self.reason())
    }
}

/// The number in the close frame.
#[cfg(feature = "serde")]
impl serde::Serialize for CloseCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_have_the_protocols_numbers_and_reasons_that_fit_a_close_frame() {
        let table = [
            (CloseCode::GoingAway, "1001 (server is going away)"),
            (CloseCode::ProtocolError, "1002 (frame violates RFC 6455)"),
            (CloseCode::Policy, "1008 (rejected by policy)"),
            (CloseCode::TooBig, "1009 (message too big)"),
            (CloseCode::Internal, "1011 (internal error)"),
            (CloseCode::TryAgainLater, "1013 (server overloaded or peer too slow; try again later)"),
            (CloseCode::Expired, "4740 (access has expired; a fresh key is required)"),
            (CloseCode::Key, "4741 (group key must be 1 to 512 bytes)"),
            (CloseCode::Heartbeat, "4742 (missed too many heartbeats)"),
            (CloseCode::Message, "4743 (not a binary protobuf Message of a known type)"),
            (CloseCode::BlockingMember, "4744 (the only member did not accept a joiner)"),
            (CloseCode::Url, "4745 (group key must be percent-encoded UTF-8)"),
            (CloseCode::app(4000), "4000 (closed by the app)"),
        ];
        for (code, text) in table {
            assert_eq!(code.to_string(), text);
            assert_eq!(format!("{} ({})", code.as_u16(), code.reason()), text);
            assert!(code.reason().len() <= 123, "{code}");
            assert_eq!(CloseCode::from_u16(code.as_u16()), Some(code));
        }
        let count = (0..=u16::MAX).filter_map(CloseCode::from_u16).count();
        assert_eq!(count, 6 + 1000, "no other number is a code of the hub");
    }

    #[test]
    fn app_code_is_4000_to_4999_without_the_protocols_codes() {
        for code in [4000, 4739, 4746, 4999] {
            assert_eq!(CloseCode::app(code).as_u16(), code);
        }
        for code in [3999, 4740, 4741, 4745, 5000] {
            assert!(std::panic::catch_unwind(|| CloseCode::app(code)).is_err(), "{code}");
        }
    }
}
