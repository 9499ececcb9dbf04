//! Shutdown and drain by signals.

use std::time::{Duration, Instant};

use sigver::client::WebSocket;
use sigver::memory::TestClient;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::timeout;

use crate::common::open;
use crate::common::websocket::try_open;
use crate::kill;
use crate::process::start;

type Peer = TestClient<WebSocket<TcpStream>>;

/// Starts a server that has one member in each of two groups.
async fn start_with_two_peers(args: &[&str]) -> (Child, String, Vec<Peer>) {
    let (process, address) = start(args).await;
    let mut peers = Vec::new();
    for path in ["/K", "/another"] {
        let mut peer = open(address.clone(), path).await;
        assert!(peer.connect(1, &[]).await);
        peers.push(peer);
    }
    (process, address, peers)
}

/// Waits until the hub closes one of two peers with 1001, and returns the other.
async fn first_closed(peers: Vec<Peer>) -> Peer {
    let [mut one, mut other] = <[_; 2]>::try_from(peers).expect("two peers");
    tokio::select! {
        close = one.recv_close() => assert_eq!(close.code, 1001),
        close = other.recv_close() => {
            assert_eq!(close.code, 1001);
            return one;
        }
    }
    other
}

/// Checks that the server exits with code 0, and returns its log.
async fn exits(mut process: Child) -> String {
    let mut log = String::new();
    process.stderr.take().expect("stderr is piped").read_to_string(&mut log).await.expect("the log is UTF-8");
    let status = timeout(Duration::from_secs(60), process.wait()).await.expect("the server exits in time");
    assert_eq!(status.expect("the server was started").code(), Some(0), "{log}");
    log
}

#[tokio::test]
async fn sigint_and_sigterm_close_all_peers_with_1001() {
    for signal in ["-INT", "-TERM"] {
        let (process, _, peers) = start_with_two_peers(&[]).await;
        kill(signal, &process).await;
        for mut peer in peers {
            assert_eq!(peer.recv_close().await.code, 1001);
        }
        exits(process).await;
    }
}

#[tokio::test]
async fn sigterm_spreads_closes_over_drain_timeout_and_new_joins_get_503() {
    let args = ["--drain-timeout", "5s", "--close-timeout", "1s"];
    let (process, address, peers) = start_with_two_peers(&args).await;
    let start = Instant::now();
    kill("-TERM", &process).await;
    let mut other = first_closed(peers).await;
    let socket = TcpStream::connect(address).await.expect("the server still listens");
    assert_eq!(try_open("ws://localhost/K", socket).await.err(), Some(503));
    assert_eq!(other.recv_close().await.code, 1001);
    // The first close is immediate. The second follows after half of the four seconds that remain for closes.
    assert!(start.elapsed() > Duration::from_millis(1900), "{:?}", start.elapsed());
    let log = exits(process).await;
    assert!(log.contains("drain finished remaining=0"), "{log}");
}

#[tokio::test]
async fn second_signal_interrupts_the_drain() {
    for signal in ["-INT", "-TERM"] {
        let (process, _, peers) = start_with_two_peers(&["--drain-timeout", "1h"]).await;
        kill("-TERM", &process).await;
        let mut other = first_closed(peers).await;
        kill(signal, &process).await;
        assert_eq!(other.recv_close().await.code, 1001);
        let log = exits(process).await;
        assert!(log.contains("drain interrupted by a second signal") && log.contains(" remaining=1"), "{log}");
    }
}

#[tokio::test]
async fn sigint_closes_without_a_drain() {
    let (process, _, peers) = start_with_two_peers(&["--drain-timeout", "1h"]).await;
    kill("-INT", &process).await;
    for mut peer in peers {
        assert_eq!(peer.recv_close().await.code, 1001);
    }
    let log = exits(process).await;
    assert!(log.contains("shutting down signal=SIGINT peers=2") && !log.contains("drain"), "{log}");
}
