//! What comes of requests that no WebSocket client would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::door::{Door, Kind};

crate::over_every_socket! {
    a_plain_request_gets_426_and_a_helpful_line
    a_wrong_websocket_version_gets_426_and_the_right_one
    a_handshake_by_post_gets_405
    a_bad_sec_websocket_key_gets_400
    http_1_0_gets_426
    the_first_subprotocol_is_chosen
    a_peer_that_vanishes_in_the_handshake_leaves_no_trace
}

pub(crate) const HANDSHAKE: &str = "Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
pub(crate) const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
pub(crate) const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a request for the key `K` with these headers, and returns the response's head and what follows it.
async fn request(door: &dyn Door, method: &str, version: &str, headers: &str) -> String {
    let mut socket = door.socket().await;
    let request = format!("{method} {}/K {version}\r\n{headers}Content-Length: 0\r\n\r\n", door.mount());
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut response = String::new();
    while !is_whole(&response) {
        let mut bytes = [0; 1024];
        let read = socket.read(&mut bytes).await.expect("the server answers");
        assert_ne!(read, 0, "the server hung up after {response:?}");
        response.push_str(std::str::from_utf8(&bytes[..read]).expect("text"));
    }
    response
}

fn is_whole(response: &str) -> bool {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { return false };
    header(head, "content-length").is_none_or(|length| length.parse() == Ok(body.len()))
}

fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let lines = response.lines().take_while(|line| !line.is_empty());
    let mut headers = lines.filter_map(|line| line.split_once(": "));
    headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

async fn a_plain_request_gets_426_and_a_helpful_line(kind: Kind) {
    let door = kind.open().await;
    for method in ["GET", "POST", "DELETE"] {
        let response = request(&*door, method, "HTTP/1.1", "Host: x\r\n").await;
        assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{response}");
        assert_eq!(header(&response, "upgrade"), Some("websocket"));
        assert_eq!(header(&response, "connection"), Some("upgrade"));
        assert!(response.contains("open it as a WebSocket (ws:// or wss://)"), "{response}");
    }
}

async fn a_wrong_websocket_version_gets_426_and_the_right_one(kind: Kind) {
    let door = kind.open().await;
    for version in ["", "Sec-WebSocket-Version: 8\r\n"] {
        let response = request(&*door, "GET", "HTTP/1.1", &format!("{HANDSHAKE}{KEY}{version}")).await;
        assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
        assert_eq!(header(&response, "sec-websocket-version"), Some("13"));
        assert!(response.ends_with("Sec-WebSocket-Version has to be 13.\n"), "{response}");
    }
}

async fn a_handshake_by_post_gets_405(kind: Kind) {
    let door = kind.open().await;
    let response = request(&*door, "POST", "HTTP/1.1", &format!("{HANDSHAKE}{KEY}{VERSION}")).await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    assert_eq!(header(&response, "allow"), Some("GET"));
}

async fn a_bad_sec_websocket_key_gets_400(kind: Kind) {
    let door = kind.open().await;
    for key in ["", "Sec-WebSocket-Key: short\r\n"] {
        let response = request(&*door, "GET", "HTTP/1.1", &format!("{HANDSHAKE}{VERSION}{key}")).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("16 bytes in base64"), "{response}");
    }
}

async fn http_1_0_gets_426(kind: Kind) {
    let door = kind.open().await;
    let response = request(&*door, "GET", "HTTP/1.0", &format!("{HANDSHAKE}{KEY}{VERSION}")).await;
    assert!(response.starts_with("HTTP/1.0 426 ") || response.starts_with("HTTP/1.1 426 "), "{response}");
}

async fn the_first_subprotocol_is_chosen(kind: Kind) {
    let door = kind.open().await;
    let headers = format!("{HANDSHAKE}{KEY}{VERSION}Sec-WebSocket-Protocol: one, two\r\n");
    let response = request(&*door, "GET", "HTTP/1.1", &headers).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert_eq!(header(&response, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(header(&response, "sec-websocket-protocol"), Some("one"));
}

async fn a_peer_that_vanishes_in_the_handshake_leaves_no_trace(kind: Kind) {
    let door = kind.open().await;
    for sent in ["", "GET", "GET /signal/K HTTP/1.1\r\nHost: x\r\n"] {
        door.socket().await.write_all(sent.as_bytes()).await.expect("the server reads");
    }
    let request = format!("GET {}/K HTTP/1.1\r\n{HANDSHAKE}{KEY}{VERSION}\r\n", door.mount());
    door.socket().await.write_all(request.as_bytes()).await.expect("the server reads");
    let mut peer = door.open("K").await;
    // The one that vanished never asked, so it is no member.
    assert!(peer.connect(1, &[]).await);
}
