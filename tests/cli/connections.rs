//! Connections that stall or exceed limits of the server, and what it logs of peers.

use std::time::Duration;

use sigver::Frame;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::open;
use crate::process::{FREE_PORT, sigver, spawn, start};
use crate::{Certificate, kill};

/// Sends bytes and nothing more. Returns the response once the server has closed the connection.
async fn response_until_close(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    socket.write_all(bytes).await.expect("the server reads");
    let mut response = Vec::new();
    let read = timeout(Duration::from_secs(60), socket.read_to_end(&mut response));
    read.await.expect("the server closes the connection in time").expect("the connection is not reset");
    response
}

#[tokio::test]
async fn connection_without_a_complete_request_is_closed() {
    let (_plain, plain) = start(&[]).await;
    let (_tls, tls) = start(&Certificate::new().args()).await;
    // 22 is the first byte of a TLS handshake.
    let responses = tokio::join!(
        response_until_close(&plain, b""),
        response_until_close(&plain, b"GET /K"),
        response_until_close(&tls, b""),
        response_until_close(&tls, &[22]),
    );
    assert!(responses.1.is_empty() || responses.1.starts_with(b"HTTP/1.1 408 "), "{responses:?}");
}

#[tokio::test]
async fn request_head_over_32_kib_gets_431() {
    let (_process, address) = start(&[]).await;
    let head = format!("GET /K HTTP/1.1\r\nCookie: {}", "x".repeat(40_000));
    let response = response_until_close(&address, head.as_bytes()).await;
    assert!(response.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&response));
}

#[tokio::test]
async fn limits_and_untrusted_proxies_are_logged_by_default() {
    let mut command = sigver(&FREE_PORT);
    let (mut process, address) = spawn(command.args(["--max-peers", "1"]).env_remove("RUST_LOG")).await;
    let mut peer = open(&address, "/the-key").await;
    assert!(peer.connect(1, &[]).await);
    let mut socket = TcpStream::connect(&address).await.expect("the server listens");
    let request = "GET /the-key HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   X-Forwarded-For: 192.0.2.7\r\n\r\n";
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut log = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
    for texts in [["WARN", "`trusted_proxies`", "ip=127.0.0.1"], ["WARN", "cause=max_peers", "rejected=1"]] {
        loop {
            let line = log.next_line().await.expect("the log is readable").expect("the server runs");
            assert!(!line.contains("the-key"), "{line}");
            if texts.iter().all(|text| line.contains(text)) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn payloads_and_keys_are_never_logged() {
    let (mut process, address) = spawn(sigver(&FREE_PORT).env("RUST_LOG", "trace")).await;
    let [mut member, mut joiner] = [open(&address, "/the-key").await, open(&address, "/the-key").await];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "the-payload").await;
    assert_eq!(member.recv_content().await.1, "the-payload");
    joiner.send_frame(Frame::Text("the-text".into())).await;
    assert_eq!(joiner.recv_close().await.code, 4743);

    kill("-TERM", &process).await;
    let mut log = String::new();
    process.stderr.take().expect("stderr is piped").read_to_string(&mut log).await.expect("the log is UTF-8");
    for text in ["peer{id=0 group=", "peer joined", "connect answered member=true", "closed by hub with 4743"] {
        assert!(log.contains(text), "no {text:?} in {log}");
    }
    // tungstenite would log hexadecimal digits: those of "the-".
    for secret in ["the-key", "the-payload", "the-text", "7468652d"] {
        assert!(!log.contains(secret), "{log}");
    }
}
