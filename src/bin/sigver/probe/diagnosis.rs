//! The cause and the fix of each failure that the probe can find.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use sigver::CloseFrame;
use sigver::client::{Event, InvalidResponse};
use tokio_rustls::rustls::{self, CertificateError};

use super::elapsed::Elapsed;

/// No proxy has a shorter idle timeout.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_millis(200);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// A step that has a timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Dns,
    Tls,
    Upgrade,
    Connect,
    Relay,
    Leave,
    Close,
}

/// Why a check failed. Texts from the server are printed with their control characters escaped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Diagnosis {
    #[error("{host} has no usable address: {error}. Check the spelling of the name and the DNS of this machine")]
    Dns { host: String, error: String },
    #[error("{}", unreachable(failed, *timeout))]
    Unreachable { failed: Vec<(SocketAddr, io::Error)>, timeout: Duration },
    #[error("{}", tls(host, error))]
    Tls { host: String, error: io::Error },
    #[error(
        "this machine trusts no CA ({error}). Install its CA certificates, or pass that of the server with --ca FILE"
    )]
    NoTrustedCa { error: String },
    #[error("{}", http(*status, location.as_deref(), body, origin.as_deref()))]
    Http { status: StatusCode, location: Option<String>, body: String, origin: Option<String> },
    #[error("{}", invalid_response(*error, *encrypted))]
    InvalidResponse { error: InvalidResponse, encrypted: bool },
    #[error("{}", no_response(error.as_ref(), *encrypted))]
    NoResponse { error: Option<io::Error>, encrypted: bool },
    #[error("{} timed out after {}; --timeout SECONDS sets the timeout. {}", step.name(), Elapsed(*timeout), step.advice())]
    Timeout { step: Step, timeout: Duration },
    #[error(
        "no heartbeat within {}. A hub sends one every 5 s, and clients disconnect 10 to 15 s after the last one. Check whether \
         a proxy buffers responses, and whether the server is overloaded",
        Elapsed(*timeout)
    )]
    NoHeartbeat { timeout: Duration },
    #[error("{}", closed(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    #[error("{}", connection_lost(*age, *silence, *longest_silence))]
    ConnectionLost { age: Duration, silence: Duration, longest_silence: Duration },
    #[error("received an invalid message: the server is not a sigver hub")]
    InvalidFrame,
    #[error("expected {expected}, received {}: the server is not a sigver hub", describe(event))]
    Unexpected { event: Event, expected: &'static str },
    #[error("a message of {bytes} bytes arrived altered: a proxy changes messages")]
    Altered { bytes: usize },
    #[error(
        "the first peer of a new group is bound, as if the group had a member: the server does not read the key from this \
         position of the URL. Check the path"
    )]
    FirstPeerBound,
    #[error(
        "the group of this key is in use, so the other checks would disturb its peers. For a random key, end the path \
         with a slash or write {{key}} in its place"
    )]
    GroupInUse,
    #[error(
        "the second peer with the same key became a member of another group: the two connections reached different \
         servers. All peers of a key must reach the same process. Configure the load balancer to select the server by \
         the URL, and check that every address of the name leads to it"
    )]
    SplitGroup,
    #[error("one URL contains a key and the other does not, so their peers would be in different groups")]
    KeyInOneUrl,
    #[error(
        "the peer of the second URL became a member of another group with the same key: the two servers do not belong \
         to one hub. Check that both use the same Redis and the same cluster name (--cluster-url, --cluster-name), and \
         that each URL takes the key from the same position"
    )]
    SeparateHubs,
    #[error("expected close {expected}, got no close within {}: the server is not a sigver hub", Elapsed(*timeout))]
    NotClosed { expected: u16, timeout: Duration },
    #[error("expected close {expected}: {}", closed(frame.as_ref()))]
    WrongClose { frame: Option<CloseFrame>, expected: u16 },
    #[error(
        "expected close {expected}, but the connection ended without a close frame. Check whether a proxy drops close \
         frames"
    )]
    NoCloseFrame { expected: u16 },
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Dns => "DNS lookup",
            Self::Tls => "TLS handshake",
            Self::Upgrade => "WebSocket handshake",
            Self::Connect => "answer to connect",
            Self::Relay => "message from the other peer",
            Self::Leave => "notification that the other peer left",
            Self::Close => "close",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Dns => "Check the DNS of this machine",
            Self::Tls => "If this port does not use TLS, use ws://",
            Self::Upgrade => {
                "The port accepts connections but does not respond to HTTP, or a proxy gets no response from its \
                 server. If this is a TLS port, use wss://"
            }
            Self::Connect | Self::Relay | Self::Leave | Self::Close => {
                "The connection is open, but no messages arrive. Check whether a proxy holds them back, and whether a \
                 server of a cluster reaches its Redis (/readyz); otherwise the server is not a sigver hub"
            }
        }
    }
}

fn unreachable(failed: &[(SocketAddr, io::Error)], timeout: Duration) -> String {
    let list: Vec<_> = failed
        .iter()
        .map(|(address, error)| match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("{address}: connection refused"),
            io::ErrorKind::TimedOut => format!("{address}: no response within {}", Elapsed(timeout)),
            _ => format!("{address}: {error}"),
        })
        .collect();
    let advice = match failed.iter().all(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) {
        true => {
            "No process listens on this port. Check that the server is running, that it uses this port, and that it \
             does not listen on 127.0.0.1 of another machine"
        }
        false => "Check for a firewall, and that the address is up to date",
    };
    format!("{}. {advice}", list.join("; "))
}

fn tls(host: &str, error: &io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return format!(
            "the server closed the connection during the TLS handshake ({error}). If this port does not use TLS, use ws://"
        );
    };
    let advice = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired. Renew it, and reload it in the server"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet. Check the clocks of this machine and of the certificate's issuer"
            }
            CertificateError::UnknownIssuer => {
                "this machine does not trust the issuer of the certificate. Configure the server to send its \
                 intermediate certificates; if you run your own CA, pass its certificate with --ca FILE"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name. Use that name, or issue a certificate for this host"
            }
            other if other.to_string().contains("CaUsedAsEndEntity") => {
                "the certificate is a CA certificate. Sign a server certificate with it (openssl: \
                 basicConstraints=CA:FALSE)"
            }
            _ => "browsers reject this certificate too. Issue another one",
        },
        rustls::Error::InvalidMessage(_) => "the server does not respond with TLS. Use ws:// or another port",
        rustls::Error::AlertReceived(_) => {
            "the server rejected the handshake. Check that it has a certificate for this host and supports HTTP/1.1"
        }
        rustls::Error::PeerIncompatible(_) => "the server must support TLS 1.2 or 1.3",
        _ => "browsers cannot connect either",
    };
    format!("TLS handshake with {host} failed: {advice} ({error})")
}

fn http(status: StatusCode, location: Option<&str>, body: &str, origin: Option<&str>) -> String {
    let advice = match status.as_u16() {
        200..300 => "this path has a page, not a hub. Use the path at which the hub is mounted".to_owned(),
        300..400 => match location {
            Some(location) => format!("the server redirects to {location:?}, but WebSockets do not follow redirects"),
            None => "the server redirects, but WebSockets do not follow redirects".to_owned(),
        },
        400 => "the server received an invalid handshake. A proxy must forward Upgrade, Connection and all \
                Sec-WebSocket headers. If this is a TLS port, use wss://"
            .to_owned(),
        401 | 407 => "the server requires credentials. Put them in the path or query of the URL".to_owned(),
        403 => match origin {
            Some(origin) => {
                format!("the server or a proxy rejected the request. Check that it allows the origin {origin:?}")
            }
            None => "the server or a proxy rejected the request. It had no Origin header; --origin ORIGIN sends one. \
                     Otherwise the URL lacks the credentials that the server requires"
                .to_owned(),
        },
        404 | 410 => "this path has no hub. Use the path at which it is mounted. A proxy must forward the part of the \
                      path that the hub expects"
            .to_owned(),
        405 | 501 => "this path does not support WebSockets. Use the path at which the hub is mounted".to_owned(),
        426 => "the hub received the request without its Upgrade header, so a proxy drops the header. nginx needs: \
                proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";"
            .to_owned(),
        429 => "rate limit exceeded: the server or a proxy limits new connections".to_owned(),
        502..=504 => "the proxy gets no response from its server, or the server is shutting down. Check that the \
                      server is running and that the proxy uses its address"
            .to_owned(),
        500.. => "the server or a proxy failed. Its log has the reason".to_owned(),
        _ => "expected HTTP 101".to_owned(),
    };
    let body = if body.is_empty() { String::new() } else { format!(" (response: {body:?})") };
    format!("HTTP {status}: {advice}{body}")
}

fn invalid_response(error: InvalidResponse, encrypted: bool) -> String {
    match error {
        InvalidResponse::Version => "the response is HTTP/1.0, which does not support WebSockets. A proxy must use \
             HTTP/1.1 (nginx: proxy_http_version 1.1;)"
            .to_owned(),
        InvalidResponse::NotHttp => format!("the response is not HTTP ({error}){}", advise_wss(encrypted)),
        InvalidResponse::TooLarge => format!("the response is invalid ({error}): the server is not a sigver hub"),
        _ => format!("HTTP 101 without a valid WebSocket handshake ({error}): a proxy changes its headers"),
    }
}

fn no_response(error: Option<&io::Error>, encrypted: bool) -> String {
    let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
    format!(
        "the server closed the connection during the WebSocket handshake{error}: it is not an HTTP server, or a proxy \
         cannot reach its server{}",
        advise_wss(encrypted)
    )
}

fn advise_wss(encrypted: bool) -> &'static str {
    if encrypted { "" } else { ". If this is a TLS port, use wss://" }
}

fn closed(frame: Option<&CloseFrame>) -> String {
    let Some(CloseFrame { code, reason, .. }) = frame else {
        return "closed without a code, which a hub never does. Check whether a proxy was stopped".to_owned();
    };
    let meaning = match code {
        1000 => "a normal end, which a hub never sends. Check whether this is another server",
        1001 => "the server is shutting down or restarting. Try again",
        1002 => "a frame violated RFC 6455. Check whether a proxy alters messages",
        1008 => "policy violation: the hub rejected this peer. Check the hub's access control",
        1009 => "message too big: the limit of the hub is below 2 KB, which rejects offers",
        1011 => "an internal error of the server. Its log has the reason",
        1012 => "the server is restarting. Try again",
        1013 if reason.contains("engine of the cluster") => {
            "the server cannot reach the Redis of its cluster. Its log has the reason"
        }
        1013 => "the server is overloaded, the group is full, or a limit is very low. Check the limits and the load",
        4740 => "the key of the probe has expired. Use a key that is valid for longer",
        4741 => "ERR_KEY: the key is empty or too long. End the URL with a slash, or write {key} in place of the key",
        4742 => "ERR_HEARTBEAT: the hub did not receive the heartbeats of the probe. A proxy holds them back",
        4743 => {
            "ERR_MESSAGE: the message was invalid. A proxy changes messages, or the hub has another protocol version"
        }
        4744 => "ERR_BLOCKING_MEMBER: another peer evicted this one, so the key is in use",
        4745 => "ERR_URL: the hub cannot decode the key. It must be percent-encoded UTF-8",
        4000..=4739 | 4746..=4999 => {
            "a code of the app, which rejected the probe. Pass a credential: --header 'Cookie: NAME=VALUE' --origin ORIGIN"
        }
        _ => "not a code of the protocol. Check whether this is another server, and whether a proxy closes connections",
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason:?})") };
    format!("closed with {code}{reason}: {meaning}")
}

/// A connection that survived an equally long silence before was not closed because of this one. Heartbeats are not
/// exact to the millisecond.
fn connection_lost(age: Duration, silence: Duration, longest_silence: Duration) -> String {
    let cause = if silence >= MIN_IDLE_TIMEOUT && silence > longest_silence.mul_f64(1.1) {
        "a proxy closes idle connections before a heartbeat is due. Set its idle timeout well above 5 s, for example to \
         60 s (nginx: proxy_read_timeout and proxy_send_timeout; HAProxy: timeout tunnel; load balancers: idle timeout)"
    } else if age >= HEARTBEAT_INTERVAL {
        "the connection survived an equally long silence before, so a proxy limits the total time of a connection (the \
         request or backend timeout of a load balancer), or the server or a proxy failed or was restarted. An idle \
         timeout is the cause only if it equals the heartbeat interval"
    } else {
        "the server or a proxy failed, or a proxy forwards the handshake but no messages"
    };
    let (age, silence) = (Elapsed(age), Elapsed(silence));
    format!("connection lost without a close frame, {age} after it was opened and after {silence} of silence: {cause}")
}

/// Describes an event without its payload.
fn describe(event: &Event) -> String {
    match event {
        Event::Connected { member: true, .. } => "the answer that this peer is a member".to_owned(),
        Event::Connected { .. } => "the answer that this peer is bound".to_owned(),
        Event::Content { data, .. } => format!("content of {} bytes", data.len()),
        Event::Ended { .. } => "the end of a link".to_owned(),
        Event::Heartbeat => "a heartbeat".to_owned(),
        _ => "another event".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_of_the_protocol_is_explained() {
        for code in [1000, 1001, 1002, 1008, 1009, 1011, 1012, 1013, 4740, 4741, 4742, 4743, 4744, 4745] {
            let text = closed(Some(&CloseFrame::new(code, "reason")));
            assert!(text.starts_with(&format!("closed with {code} (\"reason\"): ")), "{text}");
            assert!(!text.contains("not a code of the protocol"), "{text}");
        }
        assert!(closed(Some(&CloseFrame::new(3999, ""))).contains("not a code of the protocol"));
        for code in [4000, 4739, 4746, 4999] {
            assert!(closed(Some(&CloseFrame::new(code, ""))).contains("a code of the app"));
        }
    }

    #[test]
    fn control_characters_from_the_server_are_escaped() {
        let escape = "\u{1b}[2J";
        for text in [
            closed(Some(&CloseFrame::new(1008, escape))),
            http(StatusCode::FORBIDDEN, None, escape, None),
            http(StatusCode::FOUND, Some(escape), "", None),
        ] {
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }

    #[test]
    fn silence_is_the_cause_only_if_it_is_the_longest_one() {
        let [none, short, long, longer] = [0, 1000, 3000, 3001].map(Duration::from_millis);
        let age = Duration::from_secs(30);
        assert!(connection_lost(long, long, none).contains("closes idle connections"));
        assert!(connection_lost(age, long, short).contains("closes idle connections"));
        assert!(connection_lost(age, short, long).contains("survived an equally long silence"));
        assert!(connection_lost(age, longer, long).contains("survived an equally long silence"));
        assert!(connection_lost(short, none, none).contains("no messages"));
    }
}
