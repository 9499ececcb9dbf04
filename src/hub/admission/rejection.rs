//! The answer to a join that the hub rejects: an HTTP status or a close code.

use std::borrow::Cow;
use std::net::IpAddr;

#[cfg(feature = "hyper")]
use http::StatusCode;

use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::protocol::{CloseCode, KeyError};

/// The answer to a rejected join: close code, reason and HTTP status.
///
/// ```
/// use sigver::{CloseCode, Rejection};
///
/// // A browser can read the code and reason of a close, but not the HTTP status of a failed handshake.
/// let rejection = Rejection::close(CloseCode::app(4001), "log in first");
/// assert_eq!(rejection.close_code(), CloseCode::app(4001));
/// assert_eq!(rejection.reason(), "log in first");
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    pub(in crate::hub) close: Close,
    #[cfg(feature = "hyper")]
    status: Option<StatusCode>,
    /// Whether the hub has counted it. A rejection can pass through `admit` and `reject`, and counts once.
    pub(in crate::hub) counted: bool,
    /// The client IP of the rejected request. `None` if it is unknown, or if the hub has not counted the rejection.
    pub(in crate::hub) client_ip: Option<IpAddr>,
    /// Whether an open connection is dropped without a close handshake.
    pub(in crate::hub) drops_connection: bool,
}

impl Rejection {
    /// Rejects with a close code: the hub accepts the handshake and then closes the connection with this code and
    /// reason. A reason of more than 123 bytes is truncated.
    pub fn close(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::by(Cause::Admission, code, reason)
    }

    /// Rejects with an HTTP status: the hub answers the handshake with this status and a line of text.
    ///
    /// This costs less than a close code, but a browser cannot read it. If the handshake has already completed, the
    /// connection is closed with this text as the reason instead: with 1013 for the statuses 429 and 503, 1011 for other
    /// statuses from 500, and 1008 for the rest.
    ///
    /// ```
    /// use http::StatusCode;
    /// use sigver::{CloseCode, Rejection};
    ///
    /// let rejection = Rejection::http(StatusCode::UNAUTHORIZED, "log in first");
    /// assert_eq!(rejection.status(), Some(StatusCode::UNAUTHORIZED));
    /// assert_eq!(rejection.close_code(), CloseCode::Policy);
    /// ```
    ///
    /// # Panics
    /// If the status is not a client or server error (400 to 599).
    #[cfg(feature = "hyper")]
    pub fn http(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        let code = match status.as_u16() {
            429 | 503 => CloseCode::TryAgainLater,
            500..=599 => CloseCode::Internal,
            400..=499 => CloseCode::Policy,
            status => panic!("the status of a rejection is {status}; must be 400 to 599"),
        };
        Self::by(Cause::Admission, code, reason).with_status(status)
    }

    pub(in crate::hub) fn by(cause: Cause, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            close: Close::by(cause, code, reason),
            #[cfg(feature = "hyper")]
            status: None,
            counted: false,
            client_ip: None,
            drops_connection: false,
        }
    }

    /// Rejects a connection above twice a limit of peers: before the handshake if possible, and otherwise by dropping
    /// it, because a close handshake would keep it open.
    pub(in crate::hub) fn too_many_connections(cause: Cause, reason: impl Into<Cow<'static, str>>) -> Self {
        let rejection = Self { drops_connection: true, ..Self::by(cause, CloseCode::TryAgainLater, reason) };
        #[cfg(feature = "hyper")]
        let rejection = rejection.with_status(match cause {
            Cause::MaxPeersPerIp => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        });
        rejection
    }

    pub(in crate::hub) fn origin(reason: &'static str) -> Self {
        let rejection = Self::by(Cause::AllowedOrigins, CloseCode::Policy, reason);
        #[cfg(feature = "hyper")]
        let rejection = rejection.with_status(StatusCode::FORBIDDEN);
        rejection
    }

    pub(in crate::hub) fn draining() -> Self {
        let rejection = Self::by(Cause::Draining, CloseCode::GoingAway, CloseCode::GoingAway.reason());
        #[cfg(feature = "hyper")]
        let rejection = rejection.with_status(StatusCode::SERVICE_UNAVAILABLE);
        rejection
    }

    /// Returns the HTTP status to answer the handshake with. `None` if the handshake must be accepted and the connection
    /// passed to [`SignalingHub::reject`](crate::SignalingHub::reject).
    #[cfg(feature = "hyper")]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns the code that the connection is closed with.
    pub fn close_code(&self) -> CloseCode {
        self.close.code()
    }

    /// Returns the text that the peer receives, as a close reason or as the body of an HTTP response.
    pub fn reason(&self) -> &str {
        self.close.reason()
    }

    /// Returns the reason for logs. `None` if the app composed it at run time, because it may contain a key or a token.
    pub(in crate::hub) fn loggable_reason(&self) -> Option<&str> {
        match self.cause() {
            Cause::Admission => self.close.static_reason(),
            _ => Some(self.reason()),
        }
    }

    /// Returns the limit or check that rejected the join.
    pub fn cause(&self) -> Cause {
        self.close.cause().expect("every rejection has a cause")
    }

    #[cfg(feature = "hyper")]
    fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }
}

impl From<KeyError> for Rejection {
    fn from(error: KeyError) -> Self {
        Self::by(Cause::InvalidKey, error.close_code(), error.to_string())
    }
}

impl From<&KeyError> for Rejection {
    fn from(error: &KeyError) -> Self {
        Self::from(*error)
    }
}
