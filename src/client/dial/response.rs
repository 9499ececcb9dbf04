//! The response to a WebSocket handshake: its head and its body.

use httparse::Status;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The number of header lines that a response may have.
const MAX_HEADERS: usize = 100;

/// Why a response to the WebSocket handshake is not that of a WebSocket server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// It is not HTTP/1.
    #[error("it is not HTTP/1")]
    NotHttp,
    /// It has more than 16 KiB or 100 lines of headers.
    #[error("its head is too large; must be at most 16 KiB and 100 headers")]
    TooLarge,
    /// It is HTTP/1.0, which does not support WebSockets.
    #[error("its version is HTTP/1.0; must be HTTP/1.1")]
    Version,
    /// Its status is 101, but the headers `Upgrade` and `Connection` do not confirm a WebSocket.
    #[error("its headers Upgrade and Connection do not confirm the upgrade to a WebSocket")]
    NoUpgrade,
    /// Its header `Sec-WebSocket-Accept` is missing, or not derived from the key of this handshake. It can be a cached
    /// response.
    #[error("its Sec-WebSocket-Accept does not belong to this handshake")]
    WrongAccept,
    /// Its header `Sec-WebSocket-Protocol` has a subprotocol that the client did not offer.
    #[error("it selects a subprotocol that was not offered")]
    UnknownSubprotocol,
    /// Its header `Sec-WebSocket-Extensions` has an extension. The client offers none.
    #[error("it selects an extension, although none was offered")]
    UnknownExtension,
}

/// The status line and the headers of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    is_http_1_0: bool,
    headers: Vec<(String, Vec<u8>)>,
    /// The number of bytes of the head.
    pub(super) len: usize,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    Length(usize),
    Chunked,
    Connection,
}

impl Head {
    /// Parses the head of a response. Returns `None` if it is incomplete.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, InvalidResponse> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(bytes) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(InvalidResponse::TooLarge),
            Err(_) => return Err(InvalidResponse::NotHttp),
        };
        let (Some(status), Some(minor_version)) = (response.code, response.version) else {
            return Err(InvalidResponse::NotHttp);
        };
        let headers = response.headers.iter().map(|header| (header.name.to_owned(), header.value.to_owned())).collect();
        Ok(Some(Self { status, is_http_1_0: minor_version == 0, headers, len }))
    }

    /// Checks that a response is a rejection, or that it opens the WebSocket (RFC 6455 section 4.1). Returns whether it
    /// opens it.
    pub(super) fn check(&self, key: &str, subprotocols: &[String]) -> Result<bool, InvalidResponse> {
        if self.is_http_1_0 && self.status < 300 {
            return Err(InvalidResponse::Version);
        }
        if self.status != 101 {
            return Ok(false);
        }
        let is_upgrade = self.text("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
        if !is_upgrade || !self.tokens("connection").any(|token| token.eq_ignore_ascii_case("upgrade")) {
            return Err(InvalidResponse::NoUpgrade);
        }
        if self.text("sec-websocket-accept") != Some(&derive_accept_key(key.as_bytes())) {
            return Err(InvalidResponse::WrongAccept);
        }
        if self.values("sec-websocket-extensions").next().is_some() {
            return Err(InvalidResponse::UnknownExtension);
        }
        if !self
            .values("sec-websocket-protocol")
            .all(|value| subprotocols.iter().any(|offer| offer.as_bytes() == value))
        {
            return Err(InvalidResponse::UnknownSubprotocol);
        }
        Ok(true)
    }

    pub(super) fn body_end(&self) -> BodyEnd {
        if self.tokens("transfer-encoding").any(|token| token.eq_ignore_ascii_case("chunked")) {
            return BodyEnd::Chunked;
        }
        match self.text("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => BodyEnd::Length(length),
            None if matches!(self.status, 204 | 304) => BodyEnd::Length(0),
            None => BodyEnd::Connection,
        }
    }

    /// Returns whether the body is text for a person or a program, not a page for a browser.
    pub(super) fn has_text_body(&self) -> bool {
        let is_html =
            self.text("content-type").is_some_and(|value| value.to_ascii_lowercase().starts_with("text/html"));
        !is_html && self.text("content-encoding").is_none()
    }

    /// Returns the value of a header, without spaces around it. `None` if it is missing or not UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values(name).next().and_then(|value| str::from_utf8(value).ok())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_ascii())
    }

    fn tokens(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name)
            .filter_map(|value| str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }
}

impl BodyEnd {
    /// Decodes the part of a body that has arrived. Returns it with whether it is complete, or cannot be continued.
    pub(super) fn decode(self, bytes: &[u8]) -> (Vec<u8>, bool) {
        match self {
            Self::Length(length) => (bytes[..length.min(bytes.len())].to_vec(), bytes.len() >= length),
            Self::Connection => (bytes.to_vec(), false),
            Self::Chunked => decode_chunks(bytes),
        }
    }
}

fn decode_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(bytes) {
            Ok(Status::Complete((_, 0))) | Err(_) => return (body, true),
            Ok(Status::Partial) => return (body, false),
            Ok(Status::Complete((start, size))) => {
                let chunk = &bytes[start..];
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                body.extend_from_slice(&chunk[..size.min(chunk.len())]);
                match chunk.get(size..).and_then(|rest| rest.get(2..)) {
                    Some(rest) => bytes = rest,
                    None => return (body, false),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn head(text: &str) -> Head {
        let text = format!("{}\r\n\r\n", text.replace('\n', "\r\n"));
        Head::parse(text.as_bytes()).expect("valid HTTP").expect("a complete head")
    }

    fn check(headers: &str) -> Result<bool, InvalidResponse> {
        head(&format!("HTTP/1.1 101 Switching Protocols\n{headers}")).check(KEY, &["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn response_that_confirms_the_handshake_opens_the_websocket() {
        for headers in ["", "\nSec-WebSocket-Protocol: b", "\nX-Other: 1\nconnection: x"] {
            let head =
                format!("Upgrade: WebSocket\nConnection: keep-alive, Upgrade\nSec-WebSocket-Accept: {ACCEPT}{headers}");
            assert_eq!(check(&head), Ok(true), "{headers}");
        }
    }

    #[test]
    fn response_that_does_not_confirm_the_handshake_is_invalid() {
        use InvalidResponse::{NoUpgrade, UnknownExtension, UnknownSubprotocol, WrongAccept};
        let valid = format!("Upgrade: websocket\nConnection: upgrade\nSec-WebSocket-Accept: {ACCEPT}");
        for (headers, expected) in [
            ("X: y".to_owned(), NoUpgrade),
            (valid.replace("websocket\n", "h2c\n"), NoUpgrade),
            (valid.replace("upgrade", "close"), NoUpgrade),
            (valid.replace(ACCEPT, &ACCEPT.to_lowercase()), WrongAccept),
            (valid.replace(ACCEPT, ""), WrongAccept),
            (valid.replace("Accept", "Except"), WrongAccept),
            (format!("{valid}\nSec-WebSocket-Protocol: c"), UnknownSubprotocol),
            (format!("{valid}\nSec-WebSocket-Protocol: a, b"), UnknownSubprotocol),
            (format!("{valid}\nSec-WebSocket-Extensions: permessage-deflate"), UnknownExtension),
        ] {
            assert_eq!(check(&headers), Err(expected), "{headers}");
        }
    }

    #[test]
    fn other_status_is_a_rejection_also_over_http_1_0() {
        for status in ["200 OK", "302 Found", "401 Unauthorized", "503 Service Unavailable"] {
            assert_eq!(head(&format!("HTTP/1.1 {status}")).check(KEY, &[]), Ok(false), "{status}");
        }
        // HAProxy's error pages.
        assert_eq!(head("HTTP/1.0 503 Service Unavailable").check(KEY, &[]), Ok(false));
        for status in ["101 Switching Protocols", "200 OK"] {
            assert_eq!(head(&format!("HTTP/1.0 {status}")).check(KEY, &[]), Err(InvalidResponse::Version), "{status}");
        }
    }

    #[test]
    fn bytes_that_do_not_begin_an_http_response_are_reported_at_once() {
        for bytes in
            [&b"SSH-2.0-OpenSSH"[..], b"220 smtp.example.org ESMTP\r\n", b"\x15\x03\x01\x00\x02", b"HTTP/2 200"]
        {
            assert!(matches!(Head::parse(bytes), Err(InvalidResponse::NotHttp)), "{bytes:?}");
        }
        for bytes in ["", "HT", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"] {
            assert!(matches!(Head::parse(bytes.as_bytes()), Ok(None)), "{bytes}");
        }
        let many = format!("HTTP/1.1 101 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        assert!(matches!(Head::parse(many.as_bytes()), Err(InvalidResponse::TooLarge)));
    }

    #[test]
    fn body_is_decoded_as_far_as_it_has_arrived() {
        let whole = |head: &Head, bytes: &str| {
            let (body, is_complete) = head.body_end().decode(bytes.as_bytes());
            (String::from_utf8(body).expect("UTF-8"), is_complete)
        };
        let length = head("HTTP/1.1 401 No\nContent-Length: 5");
        assert_eq!(whole(&length, "wor"), ("wor".to_owned(), false));
        assert_eq!(whole(&length, "words and more"), ("words".to_owned(), true));
        let end = head("HTTP/1.1 401 No");
        assert_eq!(whole(&end, "words"), ("words".to_owned(), false));
        assert_eq!(whole(&head("HTTP/1.1 304 Not Modified"), ""), (String::new(), true));
        let chunked = head("HTTP/1.1 401 No\nTransfer-Encoding: gzip, Chunked\nContent-Length: 1");
        for (bytes, body, is_complete) in [
            ("", "", false),
            ("5\r\nwo", "wo", false),
            ("5\r\nwords\r", "words", false),
            ("5\r\nwords\r\n6;x\r\n, more\r\n0\r\n\r\n", "words, more", true),
            ("5\r\nwords\r\nzz\r\n", "words", true),
            ("ffffffffffffffff\r\nwo", "wo", false),
        ] {
            assert_eq!(whole(&chunked, bytes), (body.to_owned(), is_complete), "{bytes:?}");
        }
    }

    #[test]
    fn html_and_compressed_bodies_are_not_text() {
        for (header, expected) in [
            ("Content-Type: text/plain", true),
            ("Content-Type: application/json", true),
            ("X-Other: 1", true),
            ("Content-Type: Text/HTML; charset=utf-8", false),
            ("Content-Encoding: gzip", false),
        ] {
            assert_eq!(head(&format!("HTTP/1.1 403 Forbidden\n{header}")).has_text_body(), expected, "{header}");
        }
    }
}
