//! What may be wrong, in words, with what would be right.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use sigver::CloseFrame;
use sigver::protocol::Message;
use tokio_rustls::rustls::{self, CertificateError};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::report::Took;

/// Shorter than this, nobody has a time limit.
const SHORTEST_LIMIT: Duration = Duration::from_millis(200);
/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Why a check failed. What the other end says is shown with its control characters escaped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{host} has no address: {error}. Is the name spelt right, and known to this machine's name service?")]
    Name { host: String, error: String },
    #[error("{}", unreachable(failed, *within))]
    Unreachable { failed: Vec<(SocketAddr, io::Error)>, within: Duration },
    #[error("{}", tls(host, error, *trusted))]
    Tls { host: String, error: io::Error, trusted: usize },
    #[error("{}", http(*status, location.as_deref(), said, origin.as_deref()))]
    Http { status: StatusCode, location: Option<String>, said: String, origin: Option<String> },
    #[error("{}", handshake(error, *encrypted))]
    Handshake { error: tungstenite::Error, encrypted: bool },
    #[error("no answer to {what} within {}; --timeout SECONDS waits longer. {}", Took(*within), unanswered(what))]
    Unanswered { what: &'static str, within: Duration },
    #[error(
        "no heartbeat within {}. A hub sends one every 5 s, and clients give up after 15 s without: does a proxy in \
         between hold back what the server sends (response buffering), or is the server stuck?",
        Took(*within)
    )]
    NoHeartbeat { within: Duration },
    #[error("{}", closed(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    #[error("{}", cut(*age, *quiet, *bore))]
    Cut { age: Duration, quiet: Duration, bore: Duration },
    #[error("the server sent what is no message of the protocol: it is no sigver hub")]
    Foreign,
    #[error("the server sent {}, where {expected} would be right: it is no sigver hub", kind(came))]
    Unexpected { came: Message, expected: &'static str },
    #[error("{bytes} bytes did not arrive as they were sent: something in between changes messages")]
    Altered { bytes: usize },
    #[error(
        "the first peer of a fresh group was not admitted, as if somebody were in it already: the server does not take \
         the key from where this URL has it. Is the path right?"
    )]
    Bound,
    #[error(
        "somebody is in this key's group already, so nothing more can be checked without disturbing them: for a fresh \
         key end the path with a slash, or write {{key}} where it goes"
    )]
    Occupied,
    #[error(
        "the second peer with the same key was admitted to a group of its own: the two sockets ended at different \
         servers. All peers of a key have to get to one process: have the load balancer choose by the URL, and the name \
         have no address of another server"
    )]
    Apart,
    #[error("the server let it pass for {}, where a close with {expected} would be right: it is no sigver hub", Took(*within))]
    NoRefusal { expected: u16, within: Duration },
    #[error("{}. A close with {expected} would be right", closed(frame.as_ref()))]
    OtherClose { frame: Option<CloseFrame>, expected: u16 },
    #[error(
        "the socket ended without a close frame; a close with {expected} would be right. Does a proxy in between \
         swallow it?"
    )]
    NoClose { expected: u16 },
}

fn unreachable(failed: &[(SocketAddr, io::Error)], within: Duration) -> String {
    let list: Vec<_> = failed
        .iter()
        .map(|(address, error)| match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("{address} refuses the connection"),
            io::ErrorKind::TimedOut => format!("no answer from {address} within {}", Took(within)),
            _ => format!("{address}: {error}"),
        })
        .collect();
    let advice = match failed.iter().all(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused) {
        true => "Nothing listens there: is the server up, on this port, and not on 127.0.0.1 of another machine?",
        false => "Is a firewall in between, or is the address an old one?",
    };
    format!("{}. {advice}", list.join("; "))
}

fn unanswered(what: &str) -> &'static str {
    match what {
        "the TLS handshake" => "Does this port speak TLS? If not, ws:// would be right",
        "the WebSocket handshake" => {
            "Something listens there that does not answer HTTP, or a proxy whose server does not; is it a TLS port? \
             Then wss:// would be right"
        }
        "the name service" => "Does this machine have one?",
        _ => {
            "The socket was opened, but what is sent does not get through: is it a sigver hub, and does a proxy in \
             between hold messages back?"
        }
    }
}

fn tls(host: &str, error: &io::Error, trusted: usize) -> String {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return format!(
            "the server hung up in the TLS handshake ({error}). Does this port speak TLS? If not, ws:// would be right"
        );
    };
    let advice = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired: renew it, and have the server load the new one"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet: are the clocks of this machine and of the certificate's maker right?"
            }
            CertificateError::UnknownIssuer if trusted == 0 => {
                "this machine trusts no CA at all: install its CA certificates, or name the right one with --ca FILE"
            }
            CertificateError::UnknownIssuer => {
                "this machine trusts nobody who signed it: have the server send its intermediate certificates too, \
                 or, if the CA is your own, name it with --ca FILE"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "it is for another name: have one issued for this host, or use the name that it is for"
            }
            other if other.to_string().contains("CaUsedAsEndEntity") => {
                "it is a CA's own: sign one for the server with it (openssl: basicConstraints=CA:FALSE)"
            }
            _ => "a browser would not take it either: have another one issued",
        },
        rustls::Error::InvalidMessage(_) => "what answers there is no TLS: ws:// would be right, or another port",
        rustls::Error::AlertReceived(_) => {
            "the server refuses: does it have a certificate for this host, and speak HTTP/1.1?"
        }
        rustls::Error::PeerIncompatible(_) => "the server has to speak TLS 1.2 or 1.3",
        _ => "a browser would not get in either",
    };
    format!("no TLS with {host}: {advice} ({error})")
}

fn http(status: StatusCode, location: Option<&str>, said: &str, origin: Option<&str>) -> String {
    let advice = match status.as_u16() {
        200..300 => "an ordinary page is at this path, and no hub: give the path where the hub is mounted".to_owned(),
        300..400 => match location {
            Some(to) => format!("the server redirects to {to:?}, and a WebSocket follows nobody: give the URL itself"),
            None => "the server redirects, and a WebSocket follows nobody: give the URL itself".to_owned(),
        },
        400 => "the handshake got there damaged: a proxy in between has to pass Upgrade, Connection and all \
                Sec-WebSocket headers on; or it is a TLS port, and wss:// would be right"
            .to_owned(),
        401 | 407 => "the server wants credentials: have the URL carry them, in its path or query".to_owned(),
        403 => match origin {
            Some(origin) => format!("the server or a proxy refuses this peer: may {origin:?} open sockets there?"),
            None => "the server or a proxy refuses this peer: no Origin was sent, --origin ORIGIN sends one; or the \
                     URL lacks what it is admitted by"
                .to_owned(),
        },
        404 | 410 => "there is no hub at this path: give the path where it is mounted; a proxy in between has to keep \
                      the part of the path that the hub expects"
            .to_owned(),
        405 | 501 => "the server knows no WebSockets at this path: give the path where the hub is mounted".to_owned(),
        426 => "the hub is there, but the request came without its Upgrade header: a proxy in between drops it. \
                nginx needs: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header \
                Connection \"upgrade\";"
            .to_owned(),
        429 => "too many requests: a proxy or the server limits how often sockets are opened".to_owned(),
        502..=504 => "a proxy has no server behind it that answers, or the server is going away: is it up, and is the \
                      proxy's upstream its address?"
            .to_owned(),
        500.. => "the server or a proxy failed: its log says why".to_owned(),
        _ => "HTTP 101 would be right".to_owned(),
    };
    let said = if said.is_empty() { String::new() } else { format!(" (it says {said:?})") };
    format!("HTTP {status}: {advice}{said}")
}

fn handshake(error: &tungstenite::Error, encrypted: bool) -> String {
    let port = if encrypted { "" } else { "; if it is a TLS port, wss:// would be right" };
    match error {
        tungstenite::Error::Io(_) | tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => format!(
            "the server hung up in the WebSocket handshake ({error}): it is no HTTP server, or a proxy without a \
             server behind it{port}"
        ),
        tungstenite::Error::Protocol(ProtocolError::WrongHttpVersion) => "the answer is HTTP/1.0, which has no \
             WebSockets: a proxy in between has to speak HTTP/1.1 (nginx: proxy_http_version 1.1;)"
            .to_owned(),
        tungstenite::Error::Protocol(ProtocolError::HttparseError(_)) => {
            format!("what answers there is no HTTP ({error}){port}")
        }
        _ => format!("HTTP 101, but not that of a WebSocket ({error}): a proxy in between changes its headers"),
    }
}

fn closed(frame: Option<&CloseFrame>) -> String {
    let Some(CloseFrame { code, reason, .. }) = frame else {
        return "the server closed the socket without a code, as no hub does: is there a proxy in between that was \
                stopped?"
            .to_owned();
    };
    let meaning = match code {
        1000 => "an ordinary end, as no hub makes one: is it another server?",
        1001 => "the server is going away: it was stopped or restarted; try again",
        1002 => "a frame broke RFC 6455: something in between damages what a peer sends",
        1008 => "refused by policy: the hub does not admit this peer, or one of its limits is very low",
        1009 => "a message was too big: the hub's limit is under 2 KB, which cuts off offers",
        1011 => "a bug in the server: its log says more",
        1012 => "the server is restarting; try again",
        1013 => "the server is overloaded, or the group is full: look at its limits and its load",
        4741 => {
            "ERR_KEY: the hub saw a key that is empty or too long. Have the URL end where the key begins, with a \
             slash, or write {key} where it goes"
        }
        4742 => {
            "ERR_HEARTBEAT: the hub did not hear the heartbeats that were sent: something in between holds them back"
        }
        4743 => {
            "ERR_MESSAGE: the hub could not read what was sent: something in between changes messages, or it speaks \
             another version of the protocol"
        }
        4744 => "ERR_BLOCKING_MEMBER: another peer took this one's place, so somebody else uses the key",
        4745 => "ERR_URL: the hub cannot read the key: it has to be percent-encoded UTF-8",
        _ => "none of the protocol's codes: is it another server, or does a proxy in between close by itself?",
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason:?})") };
    format!("closed with {code}{reason}: {meaning}")
}

/// A socket that bore as long a silence before was not cut for this one. Heartbeats are not to the millisecond.
fn cut(age: Duration, quiet: Duration, bore: Duration) -> String {
    let cause = if quiet >= SHORTEST_LIMIT && quiet > bore.mul_f64(1.1) {
        "something in between cuts quiet sockets, sooner than there is a heartbeat: give it a limit well over 5 s, \
         60 s for instance (nginx: proxy_read_timeout and proxy_send_timeout; HAProxy: timeout tunnel; the idle \
         timeout of a load balancer)"
    } else if age >= HEARTBEAT {
        "it bore as much before, so something in between limits how long any socket may live (the request or backend \
         timeout of a load balancer), or the server or a proxy was restarted or died; unless a limit on silence is \
         just the time between two heartbeats"
    } else {
        "the server or a proxy in between died, or carries the handshake but no messages"
    };
    format!("cut without a close, {} after it was opened and after {} of silence: {cause}", Took(age), Took(quiet))
}

/// A message as it may be shown: without what it carries.
fn kind(message: &Message) -> String {
    match message {
        Message::Heartbeat => "a heartbeat".to_owned(),
        Message::Content { data, .. } => format!("a content of {} bytes", data.len()),
        Message::Connect { .. } => "a connect, as only peers do".to_owned(),
        Message::Connected(admitted) => format!("connected: {admitted}"),
        // The enum may grow.
        _ => "another message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_code_of_the_protocol_is_explained() {
        for code in [1000, 1001, 1002, 1008, 1009, 1011, 1012, 1013, 4741, 4742, 4743, 4744, 4745] {
            let words = closed(Some(&CloseFrame::new(code, "why")));
            assert!(words.starts_with(&format!("closed with {code} (\"why\"): ")), "{words}");
            assert!(!words.contains("none of the protocol's"), "{words}");
        }
        assert!(closed(Some(&CloseFrame::new(4000, ""))).contains("none of the protocol's"));
    }

    #[test]
    fn what_the_other_end_says_cannot_steer_the_terminal() {
        let escape = "\u{1b}[2J";
        let said = [
            closed(Some(&CloseFrame::new(1008, escape))),
            http(StatusCode::FORBIDDEN, None, escape, None),
            http(StatusCode::FOUND, Some(escape), "", None),
        ];
        for words in said {
            assert!(!words.contains('\u{1b}'), "{words:?}");
        }
    }

    #[test]
    fn silence_is_blamed_only_for_a_cut_after_the_longest_one() {
        let [none, short, long, longer] = [0, 1000, 3000, 3001].map(Duration::from_millis);
        let age = Duration::from_secs(30);
        assert!(cut(long, long, none).contains("cuts quiet sockets"));
        assert!(cut(age, long, short).contains("cuts quiet sockets"));
        assert!(cut(age, short, long).contains("bore as much before"));
        assert!(cut(age, longer, long).contains("bore as much before"));
        assert!(cut(short, none, none).contains("no messages"));
    }
}
