//! Connections that do not complete the WebSocket handshake, and the file descriptors of the server. For Linux, where
//! every 127.x.x.x is a loopback address.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::process::Stdio;

use serde_json::json;
use sigver::memory::TestClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};

use crate::admin::{get, get_json, spawn};
use crate::common::open;
use crate::common::websocket::try_open;
use crate::kill;
use crate::process::FREE_PORT;

/// Returns the command of a server that a shell starts with this file descriptor limit, for example `-n 256`.
fn limited(ulimit: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {ulimit}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_sigver")]);
    command.args(FREE_PORT).args(["--admin", "127.0.0.1:0"]).args(args);
    command.env("NO_COLOR", "1").kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Opens a connection from `127.0.0.LAST` and sends nothing.
async fn connect_from(last: u8, server: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).expect("a loopback address");
    socket.connect(server.parse().expect("an address")).await.expect("the kernel accepts")
}

/// Opens silent connections, the same number from each of these loopback addresses.
async fn connect_silently(server: &str, addresses: RangeInclusive<u8>, of_each: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for last in addresses {
        for _ in 0..of_each {
            silent.push(connect_from(last, server).await);
        }
    }
    silent
}

/// Waits until the server has closed these connections.
async fn expect_closed(sockets: &mut [TcpStream]) {
    for socket in sockets {
        assert_eq!(socket.read(&mut [0]).await.expect("the connection is not reset"), 0);
    }
}

/// Stops the server and returns its log.
async fn log_of(mut process: Child) -> String {
    kill("-INT", &process).await;
    let mut log = String::new();
    process.stderr.take().expect("stderr is piped").read_to_string(&mut log).await.expect("the log is UTF-8");
    log
}

/// Returns the number that follows this text in a line.
fn number_after(text: &str, line: &str) -> u64 {
    let (_, rest) = line.split_once(text).expect("the line contains the text");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).expect("a number")
}

#[tokio::test]
async fn silent_connections_of_one_address_close_only_the_oldest_of_that_address() {
    let (process, server, admin) = spawn(&mut limited("-n 1024", &["--max-handshakes-per-ip", "4"])).await;
    let waiting = connect_from(1, &server).await;
    let mut silent = connect_silently(&server, 2..=2, 20).await;
    expect_closed(&mut silent[..16]).await;
    let status = get_json(&admin, "/status").await;
    assert_eq!(status["handshakes"], 5, "{status}");
    assert_eq!(status["closed_handshakes"], json!([["max_handshakes_per_ip", 16]]), "{status}");
    let metrics = get(&admin, "/metrics").await;
    for line in ["sigver_handshakes 5", "sigver_handshakes_closed_total{cause=\"max_handshakes_per_ip\"} 16"] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }

    // The oldest connection of all, and the oldest of the address that was not closed.
    let mut peers = Vec::new();
    for socket in [waiting, silent.swap_remove(16)] {
        peers.push(try_open("ws://localhost/K", socket).await.expect("the handshake completes"));
    }
    let status = get_json(&admin, "/status").await;
    assert_eq!((&status["handshakes"], &status["peers"]), (&json!(3), &json!(2)), "{status}");
    let log = log_of(process).await;
    let line = "closed connections that had not completed the WebSocket handshake cause=\"max_handshakes_per_ip\"";
    let lines: Vec<_> = log.lines().filter(|found| found.contains(line)).collect();
    assert!(lines[0].contains("connections=1 client_ip=127.0.0.2"), "{log}");
    assert!(lines.len() < 16, "{log}");
    // The last line is written at the shutdown.
    assert_eq!(lines.iter().map(|line| number_after("connections=", line)).sum::<u64>(), 16, "{log}");
}

#[tokio::test]
async fn keep_alive_connection_without_upgrade_counts_until_it_is_closed() {
    let (_process, server, admin) = spawn(&mut limited("-n 1024", &[])).await;
    let mut socket = connect_from(1, &server).await;
    for _ in 0..3 {
        socket.write_all(b"GET /K HTTP/1.1\r\nhost: hub.example\r\n\r\n").await.expect("the server reads");
        let mut response = [0; 4096];
        let len = socket.read(&mut response).await.expect("a response");
        assert!(response[..len].starts_with(b"HTTP/1.1 426 "), "{}", String::from_utf8_lossy(&response[..len]));
        assert_eq!(get_json(&admin, "/status").await["handshakes"], 1);
    }
    drop(socket);
    while get_json(&admin, "/status").await["handshakes"] != 0 {}
}

#[tokio::test]
async fn client_joins_despite_silent_connections_of_many_addresses() {
    for (args, closed, cause) in [
        // A quarter of the descriptors.
        (&[][..], 50 - 16, "max_handshakes"),
        (&["--max-handshakes", "25"], 50 - 25, "max_handshakes"),
        // Half of the descriptors: the other half of so few is reserved.
        (&["--max-handshakes", "1000"], 50 - 32, "file_descriptors"),
    ] {
        let (_process, server, admin) = spawn(&mut limited("-n 64", args)).await;
        let mut silent = connect_silently(&server, 2..=6, 10).await;
        expect_closed(&mut silent[..closed]).await;
        let status = get_json(&admin, "/status").await;
        assert_eq!(status["closed_handshakes"], json!([[cause, closed]]), "{status}");
        assert_eq!(get(&admin, "/healthz").await, "ok\n");
        assert!(open(&server, "/K").await.connect(1, &[]).await, "{args:?}");
        // The connection that became a peer closed one more.
        expect_closed(&mut silent[closed..=closed]).await;
        let mut last = silent.pop().expect("50 connections");
        assert_eq!(last.try_read(&mut [0]).expect_err("an open connection").kind(), ErrorKind::WouldBlock);
        last.shutdown().await.expect("an open connection");
    }
}

#[tokio::test]
async fn file_descriptor_limit_bounds_peers_and_a_peer_that_leaves_makes_room() {
    let (process, server, admin) = spawn(&mut limited("-n 128", &[])).await;
    let open_from = async |last| {
        let socket = connect_from(last, &server).await;
        TestClient::new(try_open("ws://localhost/K", socket).await.expect("the handshake completes"))
    };
    let mut peers = Vec::new();
    for _ in 0..16 {
        peers.push(open_from(1).await);
    }
    assert_eq!(open_from(1).await.recv_close().await.code, 1013, "half of the peers have its address");
    for _ in 0..16 {
        peers.push(open_from(2).await);
    }
    assert_eq!(open_from(3).await.recv_close().await.code, 1013);
    let status = get_json(&admin, "/status").await;
    assert_eq!(status["peers"], 32, "{status}");
    assert_eq!(status["rejections"], json!([["max_peers", 1], ["max_peers_per_ip", 1]]), "{status}");
    drop(peers.pop());
    while get_json(&admin, "/status").await["peers"] != 31 {}
    assert!(open_from(3).await.connect(1, &[]).await);
    let log = log_of(process).await;
    assert!(!log.contains("new connections wait") && !log.contains("accept failed"), "{log}");
}

#[tokio::test]
async fn soft_limit_of_file_descriptors_is_raised() {
    let (process, server, _) = spawn(&mut limited("-Sn 64", &["--max-peers", "100"])).await;
    let mut peers = Vec::new();
    for _ in 0..100 {
        peers.push(open(&server, "/K").await);
    }
    assert!(peers[99].connect(1, &[]).await);
    let log = log_of(process).await;
    assert!(!log.contains("file descriptor limit"), "{log}");
}

#[tokio::test]
async fn hard_limit_of_file_descriptors_below_max_peers_is_reported_in_one_line() {
    for (args, max_peers, used) in [
        (&["--max-peers", "641", "--max-peers-per-ip", "1000"][..], 641, "max_peers 640 and max_peers_per_ip 320"),
        (&["--max-peers-per-ip", "7"], 100_000, "max_peers 640 and max_peers_per_ip 7"),
    ] {
        let (process, ..) = spawn(&mut limited("-n 1024", args)).await;
        let log = log_of(process).await;
        let needed = max_peers + 1000;
        let line = format!(
            "the file descriptor limit is 1024; must be at least {needed} for max_peers {max_peers}: the server uses \
            {used}; set LimitNOFILE={needed} (systemd) or `ulimit -n {needed}`, or lower max_peers"
        );
        assert_eq!(log.lines().filter(|found| found.contains(&line)).count(), 1, "{log}");
    }
    let (process, ..) = spawn(&mut limited("-n 1024", &["--max-peers", "640"])).await;
    let log = log_of(process).await;
    assert!(!log.contains("file descriptor limit"), "{log}");
}
