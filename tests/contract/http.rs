//! What comes of requests and frames that no WebSocket client would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::door::{Door, Kind};

crate::over_every_socket! {
    a_plain_request_gets_426_and_a_helpful_line
    a_wrong_websocket_version_gets_426_and_the_right_one
    a_handshake_by_post_gets_405
    a_bad_sec_websocket_key_gets_400
    http_1_0_gets_426
    the_first_subprotocol_is_chosen
    a_ping_is_answered
    the_peers_own_close_code_comes_back
    a_frame_that_breaks_rfc_6455_is_1002
    what_follows_an_oversized_header_is_swallowed_so_that_no_reset_eats_the_code
    a_peer_that_vanishes_in_the_handshake_leaves_no_trace
}

const HANDSHAKE: &str = "Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

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

/// An accepted handshake, and after it these bytes; returns all that the server sends until it hangs up.
async fn frames(door: &dyn Door, frames: &[u8]) -> Vec<u8> {
    let mut socket = door.socket().await;
    let request = format!("GET {}/K HTTP/1.1\r\n{HANDSHAKE}{KEY}{VERSION}\r\n", door.mount());
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    socket.write_all(frames).await.expect("the server reads");
    let mut all = Vec::new();
    // A TLS peer that is dropped says no goodbye of its own; what it sent before is what counts.
    let _ = socket.read_to_end(&mut all).await;
    let head = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a response");
    all.split_off(head + 4)
}

async fn a_ping_is_answered(kind: Kind) {
    let door = kind.open().await;
    // A ping with the payload "hi", and a close with 1000; masked with zeroes.
    let sent = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    assert_eq!(frames(&*door, &sent).await, [0x8a, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
}

async fn the_peers_own_close_code_comes_back(kind: Kind) {
    let door = kind.open().await;
    for code in [1000_u16, 1001, 3000, 4744, 4999] {
        let [high, low] = code.to_be_bytes();
        let sent = [0x88, 0x82, 0, 0, 0, 0, high, low];
        assert_eq!(frames(&*door, &sent).await, [0x88, 2, high, low]);
    }
    assert_eq!(frames(&*door, &[0x88, 0x80, 0, 0, 0, 0]).await, [0x88, 0]);
}

async fn a_frame_that_breaks_rfc_6455_is_1002(kind: Kind) {
    let door = kind.open().await;
    let unmasked: &[u8] = &[0x82, 2, 0x08, 1];
    let reserved_opcode: &[u8] = &[0x83, 0x80, 0, 0, 0, 0];
    let reserved_bit: &[u8] = &[0xc2, 0x80, 0, 0, 0, 0];
    let mut long_ping = vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0];
    long_ping.resize(long_ping.len() + 126, 0);
    for broken in [unmasked, reserved_opcode, reserved_bit, &long_ping] {
        let answer = frames(&*door, broken).await;
        assert_eq!((answer[0], &answer[2..4]), (0x88, &1002_u16.to_be_bytes()[..]), "{broken:?}: {answer:?}");
    }
}

async fn what_follows_an_oversized_header_is_swallowed_so_that_no_reset_eats_the_code(kind: Kind) {
    let door = kind.open().await;
    let length = 10_000_000_u64;
    let mut message = vec![0x82, 0xff];
    message.extend(length.to_be_bytes());
    message.extend([0; 4]);
    message.resize(message.len() + length as usize, 0);
    // `frames` fails when the server does not take all of it.
    let answer = frames(&*door, &message).await;
    assert_eq!((answer[0], &answer[2..4]), (0x88, &1009_u16.to_be_bytes()[..]), "{answer:?}");
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
    assert!(peer.ask(1, &[]).await);
}
