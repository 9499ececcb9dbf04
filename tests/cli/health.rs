//! Health checks on the public port.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::admin::request;
use crate::common::open;
use crate::process::start;
use crate::{Certificate, kill, trusting};

/// Sends a GET request with this path and further header lines, and returns the status line.
async fn status_line(address: &str, path: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: hub.example\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(socket.read_u8().await.expect("a response"));
    }
    String::from_utf8(line).expect("UTF-8").trim_end().to_owned()
}

#[tokio::test]
async fn plain_get_of_the_health_paths_is_answered_on_the_public_port() {
    let (_process, address) = start(&[]).await;
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n"), ("/readyz?verbose", "ready\n")] {
        assert_eq!(request(&address, "any.example", "GET", path).await, (200, body.to_owned()), "{path}");
        assert_eq!(request(&address, "any.example", "HEAD", path).await, (200, String::new()), "{path}");
    }
    for path in ["/", "/status", "/metrics", "/healthz/", "/healthz/x", "/?key=healthz", "/Healthz", "/%68ealthz"] {
        assert_eq!(request(&address, "any.example", "GET", path).await.0, 426, "{path} is the path of a group");
    }
    assert_eq!(request(&address, "any.example", "POST", "/healthz").await.0, 426);
}

#[tokio::test]
async fn handshake_with_a_health_path_joins_the_group_of_that_name() {
    let (_process, address) = start(&[]).await;
    for path in ["/healthz", "/readyz"] {
        let mut member = open(&address, path).await;
        assert!(member.connect(1, &[]).await);
        let mut joiner = open(&address, &format!("/?key={}", &path[1..])).await;
        assert!(!joiner.connect(2, &[]).await, "both are in one group");
    }
    // A proxy has dropped the Upgrade header, so this must not look healthy to a client.
    let handshake = "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(status_line(&address, "/healthz", handshake).await, "HTTP/1.1 426 Upgrade Required");
}

#[tokio::test]
async fn draining_server_is_not_ready_on_the_public_port() {
    let (process, address) = start(&["--drain-timeout", "1h"]).await;
    let mut peers = [open(&address, "/K").await, open(&address, "/another").await];
    for peer in &mut peers {
        assert!(peer.connect(1, &[]).await);
    }
    kill("-TERM", &process).await;
    let [mut one, mut other] = peers;
    tokio::select! {
        close = one.recv_close() => assert_eq!(close.code, 1001),
        close = other.recv_close() => assert_eq!(close.code, 1001),
    }
    assert_eq!(request(&address, "h", "GET", "/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(request(&address, "h", "GET", "/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn server_that_cannot_reach_redis_is_not_ready_on_the_public_port() {
    // It accepts connections, and does not answer.
    let redis = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("redis://{}", redis.local_addr().expect("a bound socket has an address"));
    let (_process, address) = start(&["--cluster-url", &url]).await;
    let (status, body) = request(&address, "h", "GET", "/readyz").await;
    assert_eq!((status, &*body), (503, "the engine of the cluster is unreachable\n"));
    assert_eq!(request(&address, "h", "GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn health_paths_use_the_tls_of_the_public_port() {
    let certificate = Certificate::new();
    let (_process, address) = start(&certificate.args()).await;
    let tls = trusting([certificate.pair.cert.der()]);
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let name = ServerName::try_from("localhost").expect("a valid name");
    let mut socket = tls.connect(name, socket).await.expect("a TLS handshake");
    let request = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.expect("the server reads");
    let mut response = String::new();
    socket.read_to_string(&mut response).await.expect("the response is UTF-8");
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("\r\n\r\nok\n"), "{response}");
}
