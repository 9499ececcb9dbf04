//! Allowed origins and trusted proxies.

use sigver::client::WebSocket;
use sigver::memory::TestClient;
use tokio::net::TcpStream;

use crate::common::open;
use crate::common::websocket::{connector, try_open_with};
use crate::process::start;

/// Opens a peer with a header in its request. Returns the status if the handshake is rejected.
async fn open_with(address: &str, name: &str, value: &str) -> Result<TestClient<WebSocket<TcpStream>>, u16> {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let connector = connector("ws://localhost/K").header(name, value).expect("a valid header");
    try_open_with(connector, socket).await.map(TestClient::new)
}

#[tokio::test]
async fn other_origins_get_403() {
    let allowed = ["--allowed-origin", "https://app.example"];
    let (_process, address) = start(&allowed).await;
    assert!(open_with(&address, "origin", "https://app.example").await.is_ok());
    assert_eq!(open_with(&address, "origin", "https://evil.example").await.err(), Some(403));
    assert_eq!(open_with(&address, "x-no-origin", "").await.err(), Some(403));

    let (_process, address) = start(&[&allowed[..], &["--allow-missing-origin"]].concat()).await;
    assert!(open_with(&address, "x-no-origin", "").await.is_ok());
}

#[tokio::test]
async fn peers_behind_a_trusted_proxy_are_counted_by_client_ip() {
    let args = ["--max-peers-per-ip", "1", "--trusted-proxy", "127.0.0.1", "--client-ip-header", "x-forwarded-for"];
    let (_process, address) = start(&args).await;
    let mut local = open(&address, "/K").await;
    assert!(local.connect(1, &[]).await, "a peer at the proxy's own address");
    assert_eq!(open(&address, "/K").await.recv_close().await.code, 1013);
    let mut remote = open_with(&address, "x-forwarded-for", "192.0.2.1").await.expect("another client IP");
    assert!(!remote.connect(2, &[]).await, "it is bound to the first peer");
    let mut same_ip = open_with(&address, "x-forwarded-for", "192.0.2.1").await.expect("a handshake");
    assert_eq!(same_ip.recv_close().await.code, 1013);
}
