//! The answer to a peer that may not come in.

use std::borrow::Cow;

use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::protocol::{CloseCode, KeyError};

/// Why a peer may not open a socket, and how it learns that.
///
/// ```
/// use sigver::Rejection;
/// use sigver::protocol::CloseCode;
///
/// // A page's script sees code and reason of a close, and nothing of an HTTP status.
/// let for_browsers = Rejection::close(CloseCode::app(4001), "log in first");
/// // Costs less, and says all to those who are no browsers.
/// let for_others = Rejection::http(401, "log in first");
/// assert_eq!(for_others.status(), Some(401));
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    pub(in crate::hub) close: Close,
    status: Option<u16>,
}

impl Rejection {
    /// Lets the handshake happen and closes the socket then, with this code and a reason of at most 123 bytes; what is
    /// longer is cut.
    pub fn close(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::by(Cause::Admission, code, reason)
    }

    /// Answers the handshake with an HTTP status and a line of text. Where the handshake has already happened, or
    /// there is none, the socket is closed with the same text: with 1013 for 429 and 503, 1011 for the others from 500
    /// on, and 1008 for the rest.
    ///
    /// # Panics
    /// When the status is not within 400 to 599.
    pub fn http(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let code = match status {
            429 | 503 => CloseCode::TryAgainLater,
            500..=599 => CloseCode::Internal,
            400..=499 => CloseCode::Policy,
            _ => panic!("a rejection's status is within 400 to 599, not {status}"),
        };
        Self { close: Close::by(Cause::Admission, code, reason), status: Some(status) }
    }

    pub(in crate::hub) fn by(cause: Cause, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { close: Close::by(cause, code, reason), status: None }
    }

    pub(in crate::hub) fn origin(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { close: Close::by(Cause::AllowedOrigins, CloseCode::Policy, reason), status: Some(403) }
    }

    pub(in crate::hub) fn draining() -> Self {
        Self { close: Close::draining(), status: Some(503) }
    }

    /// The HTTP status to answer the handshake with. `None` asks for a close after it: serve the rejection.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The code to close the socket with.
    pub fn close_code(&self) -> CloseCode {
        self.close.code()
    }

    /// What the peer is told.
    pub fn reason(&self) -> &str {
        self.close.reason()
    }

    /// Which check it did not pass. `None` when what it asks for is no key.
    pub fn cause(&self) -> Option<Cause> {
        self.close.cause()
    }
}

impl From<&KeyError> for Rejection {
    fn from(error: &KeyError) -> Self {
        Self { close: Close::new(error.close_code(), error.to_string()), status: None }
    }
}
