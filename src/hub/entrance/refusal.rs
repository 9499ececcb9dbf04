//! The answer to a peer that may not come in.

use std::borrow::Cow;

use crate::hub::Guard;
use crate::hub::closing::Closing;
use crate::protocol::{CloseCode, KeyError};

/// Why a peer may not open a socket, and how it learns that.
///
/// ```
/// use sigver::Refusal;
/// use sigver::protocol::CloseCode;
///
/// // A page's script sees code and reason of a close, and nothing of an HTTP status.
/// let for_browsers = Refusal::close(CloseCode::app(4001), "log in first");
/// // Costs less, and says all to those who are no browsers.
/// let for_others = Refusal::http(401, "log in first");
/// assert_eq!(for_others.http_status(), Some(401));
/// ```
#[derive(Clone, Debug)]
pub struct Refusal {
    pub(in crate::hub) closing: Closing,
    status: Option<u16>,
}

impl Refusal {
    /// Lets the handshake happen and closes the socket then, with this code and a reason of at most 123 bytes; what is
    /// longer is cut.
    pub fn close(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::by(Guard::Admission, code, reason)
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
            _ => panic!("a refusal's status is within 400 to 599, not {status}"),
        };
        Self { closing: Closing::by(Guard::Admission, code, reason), status: Some(status) }
    }

    pub(in crate::hub) fn by(guard: Guard, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { closing: Closing::by(guard, code, reason), status: None }
    }

    pub(super) fn origin(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { closing: Closing::by(Guard::Origins, CloseCode::Policy, reason), status: Some(403) }
    }

    pub(in crate::hub) fn leaving() -> Self {
        let reason = CloseCode::GoingAway.reason();
        Self { closing: Closing::by(Guard::Drain, CloseCode::GoingAway, reason), status: Some(503) }
    }

    /// The HTTP status to answer the handshake with. `None` asks for a close after it: serve the refusal.
    pub fn http_status(&self) -> Option<u16> {
        self.status
    }

    /// The code to close the socket with.
    pub fn code(&self) -> CloseCode {
        self.closing.code()
    }

    /// What the peer is told.
    pub fn reason(&self) -> &str {
        self.closing.reason()
    }

    /// Which check it did not pass. `None` when what it asks for is no key.
    pub fn guard(&self) -> Option<Guard> {
        self.closing.guard()
    }
}

impl From<&KeyError> for Refusal {
    fn from(error: &KeyError) -> Self {
        Self { closing: Closing::new(error.close_code(), error.to_string()), status: None }
    }
}
