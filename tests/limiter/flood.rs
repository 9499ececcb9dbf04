//! Many hostile connections over TCP, and clients that get through. For Linux, where every 127.x.x.x is a loopback
//! address.

#![cfg(target_os = "linux")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sigver::SignalingHub;
use sigver::hyper::ConnectionLimiter;
use sigver::memory::TestClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::http2::Client;
use crate::server::{Server, read_response};
use crate::websocket;

const MAX_HANDSHAKES: usize = 50;
const MAX_BUSY: usize = 20;

async fn connect_from(last: u8, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("a loopback address");
    socket.connect(server).await.expect("the kernel accepts")
}

/// Sends what a hostile client sends, and nothing more.
async fn attack(nth: usize, socket: &mut TcpStream) {
    let bytes: &[u8] = match nth % 6 {
        0 => b"",
        1 => b"GET / HTTP/1.1\r\nHost: a.exam",
        2 => b"PRI * HTTP/2.0\r\n",
        3 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        4 => b"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60\r\n\r\n",
        _ => b"GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n",
    };
    // The server may have closed it already.
    _ = socket.write_all(bytes).await;
}

#[tokio::test]
async fn clients_get_through_while_many_addresses_open_hostile_connections() {
    let builder = ConnectionLimiter::builder().max_handshakes(MAX_HANDSHAKES).max_handshakes_per_ip(10);
    // Nothing times out during the test.
    let builder = builder.max_busy_connections(MAX_BUSY).idle_timeout(Duration::from_secs(3600));
    // The peers answer no heartbeats.
    let hub = SignalingHub::builder().max_missed_heartbeats(1000).build().expect("valid settings");
    let server = Arc::new(Server::with_hub(builder, hub));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(server.clone().accept_all(listener));

    let (mut hostile, mut peers, mut peers_over_http2) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..20 {
        for nth in 0..30 {
            let mut socket = connect_from(2 + (round + nth) as u8, address).await;
            attack(nth, &mut socket).await;
            hostile.push(socket);
        }
        let mut page = connect_from(1, address).await;
        page.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.expect("the server reads");
        assert_eq!(read_response(&mut page, 5).await.1, b"hello");
        let socket = connect_from(1, address).await;
        let peer = websocket::try_open("ws://localhost/signal/K", socket).await.expect("the hub admits the peer");
        peers.push(TestClient::new(peer));
        let mut client = Client::open(connect_from(1, address).await).await;
        let peer = TestClient::new(client.open_websocket().await);
        peers_over_http2.push((client, peer));
    }
    let (idle, busy) = server.counts();
    assert!(idle <= MAX_HANDSHAKES && busy <= MAX_BUSY, "{idle} {busy}");
    let causes: Vec<_> = server.closes().into_iter().map(|(cause, _)| cause).collect();
    assert_eq!(causes, ["max_handshakes", "max_busy_connections"]);
    assert_eq!(server.hub.stats().peers, 40);
    for (id, peer) in (1..).zip(&mut peers) {
        assert_eq!(peer.connect(id, &[]).await, id == 1);
    }
    for (id, (_, peer)) in (100..).zip(&mut peers_over_http2) {
        assert!(!peer.connect(id, &[]).await);
    }
    // Connections that their clients close are forgotten.
    drop((hostile, peers, peers_over_http2));
    while server.counts() != (0, 0) || server.hub.stats().peers > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn silent_connections_of_one_address_close_only_those_of_that_address() {
    let server = Arc::new(Server::new(ConnectionLimiter::builder().max_handshakes_per_ip(4)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(server.clone().accept_all(listener));
    let waiting = connect_from(1, address).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect_from(2, address).await);
    }
    for socket in &mut silent[..96] {
        assert_eq!(socket.read(&mut [0]).await.expect("the connection is not reset"), 0);
    }
    server.wait_for_counts((5, 0)).await;
    let peer = websocket::try_open("ws://localhost/signal/K", waiting).await.expect("the hub admits the peer");
    assert!(TestClient::new(peer).connect(1, &[]).await);
    assert_eq!(server.closes(), [("max_handshakes_per_ip", 96)]);
}
