//! The answer to a join that the hub rejects: an HTTP status or a close code.

use std::borrow::Cow;
use std::error::Error;
use std::net::IpAddr;

#[cfg(feature = "hyper")]
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

#[cfg(feature = "hyper")]
use super::http_header::header;
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
    /// Boxed because most rejections have none.
    #[cfg(feature = "hyper")]
    headers: Option<Box<HeaderMap>>,
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

    /// Rejects because of an error of the app, such as an unreachable database: with the HTTP status 500, or with 1011 if
    /// the handshake has already completed or the feature `hyper` is disabled.
    ///
    /// Logs the error and its sources at the level `error`. The peer receives only the reason "internal error". With a
    /// `From` implementation for the app's error type, `?` works in a hook:
    ///
    /// ```
    /// use sigver::{JoinRequest, PeerInfo, Rejection, SignalingHub};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("cannot query the sessions: {0}")]
    /// struct DatabaseError(&'static str);
    ///
    /// impl From<DatabaseError> for Rejection {
    ///     fn from(error: DatabaseError) -> Self {
    ///         Self::internal(error)
    ///     }
    /// }
    ///
    /// async fn find_user(_key: &str) -> Result<String, DatabaseError> {
    ///     Err(DatabaseError("connection to db.internal refused"))
    /// }
    ///
    /// async fn admit(request: JoinRequest) -> Result<PeerInfo, Rejection> {
    ///     Ok(PeerInfo::new().identity(find_user(request.key().as_str()).await?))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// let hub = SignalingHub::builder().admission(admit).build()?;
    /// let close = sigver::memory::join(&hub, "a key").recv_close().await;
    /// assert_eq!((close.code, &*close.reason), (1011, "internal error"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        tracing::error!(error = with_sources(&*error), "admission failed");
        let rejection = Self::by(Cause::Admission, CloseCode::Internal, CloseCode::Internal.reason());
        #[cfg(feature = "hyper")]
        let rejection = rejection.with_status(StatusCode::INTERNAL_SERVER_ERROR);
        rejection
    }

    /// Adds a header to the HTTP response, for example `Retry-After` or `WWW-Authenticate`. A close frame has no headers.
    ///
    /// ```
    /// use http::StatusCode;
    /// use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
    /// use sigver::Rejection;
    ///
    /// let busy = Rejection::http(StatusCode::TOO_MANY_REQUESTS, "too many rooms");
    /// let busy = busy.with_header(RETRY_AFTER, 30);
    /// let anonymous = Rejection::http(StatusCode::UNAUTHORIZED, "log in first");
    /// let anonymous = anonymous.with_header(WWW_AUTHENTICATE, "Bearer");
    /// ```
    ///
    /// # Panics
    /// If the name or the value is not valid in HTTP.
    #[cfg(feature = "hyper")]
    #[must_use]
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let (name, value) = header(name, value);
        self.headers.get_or_insert_default().append(name, value);
        self
    }

    pub(in crate::hub) fn by(cause: Cause, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            close: Close::by(cause, code, reason),
            #[cfg(feature = "hyper")]
            status: None,
            #[cfg(feature = "hyper")]
            headers: None,
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

    /// Returns the headers of the HTTP response.
    #[cfg(feature = "hyper")]
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().flat_map(|headers| headers.iter())
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

/// The response to a handshake, or to another request, that the app answers itself: the status, the headers, and the
/// reason as a line of text.
///
/// A rejection with a close code gets the status 400 for an invalid key, 500 for 1011, 503 for 1001 and 1013, and
/// otherwise 403. A browser cannot read it: complete the handshake and call
/// [`SignalingHub::reject`](crate::SignalingHub::reject) instead.
#[cfg(feature = "hyper")]
impl<B: From<String>> From<Rejection> for Response<B> {
    fn from(rejection: Rejection) -> Self {
        let mut response = Self::new(B::from(format!("{}\n", rejection.reason())));
        *response.status_mut() = rejection.status.unwrap_or_else(|| match rejection.close_code() {
            CloseCode::Key | CloseCode::Url => StatusCode::BAD_REQUEST,
            CloseCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            CloseCode::GoingAway | CloseCode::TryAgainLater => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        });
        let headers = response.headers_mut();
        // Without a type, a browser may interpret a reason that contains text of the client as HTML.
        let own = rejection.headers.map(|headers| *headers).unwrap_or_default();
        if !own.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        headers.extend(own);
        response
    }
}

/// Returns an error and its sources, joined by colons.
fn with_sources(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_error_contains_its_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Layer(&'static str, #[source] Option<Box<Layer>>);
        let inner = Layer("refused", None);
        let error = Layer("no session", Some(Box::new(Layer("query failed", Some(Box::new(inner))))));
        assert_eq!(with_sources(&error), "no session: query failed: refused");
    }

    #[cfg(feature = "hyper")]
    #[test]
    fn response_has_status_headers_and_reason() {
        use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
        let rejection = Rejection::http(StatusCode::UNAUTHORIZED, "log in first").with_header(RETRY_AFTER, 5);
        let rejection = rejection.with_header(WWW_AUTHENTICATE, "Bearer").with_header(WWW_AUTHENTICATE, "Basic");
        let response = Response::<String>::from(rejection);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[RETRY_AFTER], "5");
        assert_eq!(response.headers().get_all(WWW_AUTHENTICATE).iter().collect::<Vec<_>>(), ["Bearer", "Basic"]);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(response.body(), "log in first\n");
        let typed = Rejection::http(StatusCode::FORBIDDEN, "{}").with_header(CONTENT_TYPE, "application/json");
        let response = Response::<String>::from(typed);
        assert_eq!(response.headers().get_all(CONTENT_TYPE).iter().collect::<Vec<_>>(), ["application/json"]);
    }

    #[cfg(feature = "hyper")]
    #[test]
    fn response_to_a_rejection_with_a_close_code_has_the_nearest_status() {
        let status = |code| Response::<String>::from(Rejection::close(code, "rejected")).status().as_u16();
        for (code, expected) in [
            (CloseCode::app(4001), 403),
            (CloseCode::Policy, 403),
            (CloseCode::Key, 400),
            (CloseCode::Url, 400),
            (CloseCode::Internal, 500),
            (CloseCode::TryAgainLater, 503),
            (CloseCode::GoingAway, 503),
        ] {
            assert_eq!(status(code), expected, "{code}");
        }
    }
}
