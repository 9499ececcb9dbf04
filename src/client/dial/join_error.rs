//! Why a client could not join a hub, and whether to try again.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::response::InvalidResponse;
use crate::client::Retry;
use crate::protocol::KeyError;

/// Why [`join`](super::join) or a [`Connector`](super::Connector) failed. [`JoinError::retry`] tells what to do next.
///
/// A hub that rejects a join with a close code completes the handshake first, because browsers can read only a close
/// code. Such a rejection is not a `JoinError`: the first `connect` or `recv` of the client returns it as
/// [`ClientError::Closed`](crate::client::ClientError::Closed).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The URL of the hub is invalid. The text has the rule that it breaks, and no part of its path and query, which
    /// can contain a credential.
    #[error("the URL of the hub is invalid: {0}")]
    Url(String),
    /// The key is empty or too long.
    #[error("the key is invalid")]
    Key(#[source] KeyError),
    /// The key is `.` or `..`. As the last segment of a URL, these have another meaning.
    #[error("the key is a dot segment; must not be \".\" or \"..\", which the parsers of URLs resolve")]
    DotSegment,
    /// [`Connector::header`](super::Connector::header) or [`subprotocol`](super::Connector::subprotocol) got a header
    /// that cannot be sent.
    #[error("the header {name:?} is invalid: {rule}")]
    #[non_exhaustive]
    Header {
        /// The name of the header.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// [`Connector::ca`](super::Connector::ca) got a text that does not contain CA certificates in PEM.
    #[error("the CA certificates are invalid: {0}; must be PEM with at least one certificate")]
    Ca(String),
    /// This machine has no CA certificates, and [`Connector::ca`](super::Connector::ca) added none. The text has the
    /// errors of the platform.
    #[error("no CA certificate is trusted: {0}; install those of the platform, or add one")]
    NoTrustedCa(String),
    /// The host has no address.
    #[error("{host} has no usable address")]
    #[non_exhaustive]
    Dns {
        /// The host of the URL.
        host: String,
        /// The error of the resolver, or `NotFound` if it returned no address.
        #[source]
        error: io::Error,
    },
    /// No address of the host accepts a connection.
    #[error("cannot connect to {}", list(.0))]
    Tcp(Vec<(SocketAddr, io::Error)>),
    /// The TLS handshake failed. The kind of the error is [`InvalidData`](io::ErrorKind::InvalidData) if one side
    /// rejected the handshake, for example because of the certificate. Otherwise the connection failed.
    #[error("TLS handshake with {host} failed")]
    #[non_exhaustive]
    Tls {
        /// The host of the URL.
        host: String,
        /// The error of rustls or of the connection.
        #[source]
        error: io::Error,
    },
    /// The connection ended during the WebSocket handshake, with an error if there was one.
    #[error("connection lost during the WebSocket handshake")]
    ConnectionLost(#[source] Option<io::Error>),
    /// The server did not accept the WebSocket: its response has a status other than 101. Redirects are not followed,
    /// as in browsers.
    #[error("the server rejected the WebSocket with HTTP {status}{}", describe(.body))]
    #[non_exhaustive]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The first 4 KiB of the response's body. Empty if it is HTML or compressed. Received from the server as it
        /// is, so it can contain control characters.
        body: String,
        /// The header `Location`, if the response has a valid one.
        location: Option<String>,
        /// The header `Retry-After`, if it is a number of seconds.
        retry_after: Option<Duration>,
    },
    /// The response is not that of a WebSocket server.
    #[error("invalid response to the WebSocket handshake")]
    InvalidResponse(#[source] InvalidResponse),
    /// The timeout passed during this step.
    #[error("timed out during the {step}")]
    #[non_exhaustive]
    Timeout {
        /// The step that was not completed.
        step: JoinStep,
    },
}

/// A step of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinStep {
    /// The lookup of the host.
    Dns,
    /// The connection to one of its addresses.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The WebSocket handshake.
    WebSocket,
}

impl JoinError {
    /// Returns when to try again.
    ///
    /// | error | retry |
    /// |---|---|
    /// | [`Dns`](Self::Dns), [`Tcp`](Self::Tcp), [`ConnectionLost`](Self::ConnectionLost), [`Timeout`](Self::Timeout) | [`Retry::Later`] |
    /// | [`Tls`](Self::Tls), unless one side rejected the handshake | [`Retry::Later`] |
    /// | [`Rejected`](Self::Rejected) with 408, 425, 429 or 5xx except 501 and 505, or with a `Retry-After` | [`Retry::Later`] |
    /// | all others | [`Retry::Never`] |
    pub fn retry(&self) -> Retry {
        match self {
            Self::Dns { .. } | Self::Tcp(_) | Self::ConnectionLost(_) | Self::Timeout { .. } => Retry::Later,
            Self::Tls { error, .. } if error.kind() != io::ErrorKind::InvalidData => Retry::Later,
            Self::Rejected { retry_after: Some(_), .. } => Retry::Later,
            Self::Rejected { status: 501 | 505, .. } => Retry::Never,
            Self::Rejected { status: 408 | 425 | 429 | 500..600, .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}

impl fmt::Display for JoinStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS lookup",
            Self::Tcp => "TCP connection",
            Self::Tls => "TLS handshake",
            Self::WebSocket => "WebSocket handshake",
        })
    }
}

/// Each address with its error.
fn list(failed: &[(SocketAddr, io::Error)]) -> String {
    failed.iter().map(|(address, error)| format!("{address}: {error}")).collect::<Vec<_>>().join("; ")
}

/// The first line of a body, with its control characters escaped.
fn describe(body: &str) -> String {
    match body.lines().next().unwrap_or_default() {
        "" => String::new(),
        line => format!(": {:?}", line.chars().take(120).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(status: u16, body: &str, retry_after: Option<Duration>) -> JoinError {
        JoinError::Rejected { status, body: body.to_owned(), location: None, retry_after }
    }

    fn tls(kind: io::ErrorKind) -> JoinError {
        JoinError::Tls { host: "host".to_owned(), error: io::Error::new(kind, "the cause") }
    }

    #[test]
    fn retry_is_later_after_failures_that_may_pass_by_themselves() {
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
        let address = "127.0.0.1:1".parse().expect("an address");
        for error in [
            JoinError::Dns { host: "host".to_owned(), error: reset() },
            JoinError::Tcp(vec![(address, reset())]),
            JoinError::ConnectionLost(None),
            JoinError::Timeout { step: JoinStep::Tls },
            tls(io::ErrorKind::UnexpectedEof),
            rejected(403, "", Some(Duration::ZERO)),
        ] {
            assert_eq!(error.retry(), Retry::Later, "{error}");
        }
        let later = (200..600).filter(|&status| rejected(status, "", None).retry() == Retry::Later);
        let expected: Vec<_> =
            [408, 425, 429].into_iter().chain(500..600).filter(|s| ![501, 505].contains(s)).collect();
        assert_eq!(later.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn retry_is_never_after_other_failures() {
        for error in [
            JoinError::Url("it has no scheme".to_owned()),
            JoinError::Key(KeyError::Empty),
            JoinError::DotSegment,
            JoinError::NoTrustedCa("none found".to_owned()),
            tls(io::ErrorKind::InvalidData),
            JoinError::InvalidResponse(InvalidResponse::NotHttp),
        ] {
            assert_eq!(error.retry(), Retry::Never, "{error}");
        }
    }

    #[test]
    fn error_text_has_one_escaped_line_of_the_body() {
        let text = rejected(401, "token \u{1b}[2J\nsecond line", None).to_string();
        assert_eq!(text, r#"the server rejected the WebSocket with HTTP 401: "token \u{1b}[2J""#);
        assert_eq!(rejected(503, "", None).to_string(), "the server rejected the WebSocket with HTTP 503");
    }
}
