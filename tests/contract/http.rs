//! Answers to requests that are not valid WebSocket handshakes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Adapter, TestServer};

crate::on_every_hub_handshake! {
    plain_request_gets_426_with_explanation
    wrong_websocket_version_gets_426_with_supported_version
    handshake_with_post_gets_405
    invalid_sec_websocket_key_gets_400
    http_1_0_handshake_gets_426
    first_subprotocol_is_selected
    connection_lost_during_handshake_leaves_no_peer
}

pub(crate) const HANDSHAKE: &str = "Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
pub(crate) const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
pub(crate) const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a request for the key `K` with these headers, and returns the head and the body of the response.
pub(crate) async fn request(server: &dyn TestServer, method: &str, version: &str, headers: &str) -> String {
    request_path(server, "/K", &format!("{method} {version}"), headers).await
}

/// As [`request`], for this path below the mount.
pub(crate) async fn request_path(server: &dyn TestServer, path: &str, line: &str, headers: &str) -> String {
    let mut stream = server.open_stream().await;
    let (method, version) = line.split_once(' ').expect("a method and a version");
    let request = format!("{method} {}{path} {version}\r\n{headers}Content-Length: 0\r\n\r\n", server.mount_path());
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut response = String::new();
    while !is_complete(&response) {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).await.expect("the server answers");
        assert_ne!(read, 0, "the server closed the connection after {response:?}");
        response.push_str(std::str::from_utf8(&bytes[..read]).expect("the response is text"));
    }
    response
}

fn is_complete(response: &str) -> bool {
    let Some((head, body)) = response.split_once("\r\n\r\n") else { return false };
    header(head, "content-length").is_none_or(|length| length.parse() == Ok(body.len()))
}

pub(crate) fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let lines = response.lines().take_while(|line| !line.is_empty());
    let mut headers = lines.filter_map(|line| line.split_once(": "));
    headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

async fn plain_request_gets_426_with_explanation(adapter: Adapter) {
    let server = adapter.start().await;
    for method in ["GET", "POST", "DELETE"] {
        let response = request(&*server, method, "HTTP/1.1", "Host: x\r\n").await;
        assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{response}");
        assert_eq!(header(&response, "upgrade"), Some("websocket"));
        assert_eq!(header(&response, "connection"), Some("upgrade"));
        assert!(response.contains("Open it as a WebSocket (ws:// or wss://)"), "{response}");
    }
}

async fn wrong_websocket_version_gets_426_with_supported_version(adapter: Adapter) {
    let server = adapter.start().await;
    for version in ["", "Sec-WebSocket-Version: 8\r\n"] {
        let response = request(&*server, "GET", "HTTP/1.1", &format!("{HANDSHAKE}{KEY}{version}")).await;
        assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
        assert_eq!(header(&response, "sec-websocket-version"), Some("13"));
        assert!(response.ends_with("Sec-WebSocket-Version must be 13.\n"), "{response}");
    }
}

async fn handshake_with_post_gets_405(adapter: Adapter) {
    let server = adapter.start().await;
    let response = request(&*server, "POST", "HTTP/1.1", &format!("{HANDSHAKE}{KEY}{VERSION}")).await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    assert_eq!(header(&response, "allow"), Some("GET"));
}

async fn invalid_sec_websocket_key_gets_400(adapter: Adapter) {
    let server = adapter.start().await;
    for key in ["", "Sec-WebSocket-Key: short\r\n"] {
        let response = request(&*server, "GET", "HTTP/1.1", &format!("{HANDSHAKE}{VERSION}{key}")).await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("Sec-WebSocket-Key") && response.contains("16 bytes"), "{response}");
    }
}

async fn http_1_0_handshake_gets_426(adapter: Adapter) {
    let server = adapter.start().await;
    let response = request(&*server, "GET", "HTTP/1.0", &format!("{HANDSHAKE}{KEY}{VERSION}")).await;
    assert!(response.starts_with("HTTP/1.0 426 ") || response.starts_with("HTTP/1.1 426 "), "{response}");
}

async fn first_subprotocol_is_selected(adapter: Adapter) {
    let server = adapter.start().await;
    let headers = format!("{HANDSHAKE}{KEY}{VERSION}Sec-WebSocket-Protocol: one, two\r\n");
    let response = request(&*server, "GET", "HTTP/1.1", &headers).await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert_eq!(header(&response, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(header(&response, "sec-websocket-protocol"), Some("one"));
}

async fn connection_lost_during_handshake_leaves_no_peer(adapter: Adapter) {
    let server = adapter.start().await;
    for sent in ["", "GET", "GET /signal/K HTTP/1.1\r\nHost: x\r\n"] {
        server.open_stream().await.write_all(sent.as_bytes()).await.expect("the server reads");
    }
    let request = format!("GET {}/K HTTP/1.1\r\n{HANDSHAKE}{KEY}{VERSION}\r\n", server.mount_path());
    server.open_stream().await.write_all(request.as_bytes()).await.expect("the server reads");
    let mut peer = server.open("K").await;
    // The lost peer sent no connect, so it is not a member.
    assert!(peer.connect(1, &[]).await);
}
