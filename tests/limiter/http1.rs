//! Connections over HTTP/1.1: silent and slow clients, requests of any length, and WebSockets.

use std::time::Duration;

use sigver::hyper::ConnectionLimiter;
use sigver::memory::TestClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, split};
use tokio::time::{Instant, sleep};

use crate::log::Log;
use crate::server::{LARGE, SLOW, Server, read_response, read_until_close};
use crate::websocket;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn server() -> Server {
    Server::new(ConnectionLimiter::builder())
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn client_that_sends_nothing_or_half_a_request_is_closed_after_the_idle_timeout() {
    let server = server();
    for bytes in [&b""[..], b"G", b"GET / HTTP/1.1\r\nHost: a.exam", &REQUEST[..REQUEST.len() - 1]] {
        let mut socket = server.connect_from(1);
        socket.write_all(bytes).await.expect("the server reads");
        assert_eq!(read_until_close(&mut socket).await, (vec![], 10), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!((server.counts(), server.closes()), ((0, 0), vec![("idle_timeout", 4)]));
}

#[tokio::test(start_paused = true)]
async fn client_that_sends_a_byte_from_time_to_time_is_closed_after_the_idle_timeout() {
    let server = server();
    let (mut reader, mut writer) = split(server.connect_from(1));
    tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\n".iter().chain(&[b'x'; 1000]) {
            sleep(Duration::from_millis(250)).await;
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(read_until_close(&mut reader).await, (vec![], 10));
}

#[tokio::test(start_paused = true)]
async fn connection_stays_open_while_its_client_sends_requests() {
    let server = server();
    let mut socket = server.connect_from(1);
    for _ in 0..10 {
        sleep(Duration::from_secs(9)).await;
        socket.write_all(REQUEST).await.expect("the server reads");
        assert_eq!(read_response(&mut socket, 5).await.1, b"hello");
    }
    assert_eq!(read_until_close(&mut socket).await, (vec![], 10));
}

#[tokio::test(start_paused = true)]
async fn request_in_progress_is_not_idle_until_its_response_has_ended() {
    let server = server();
    for (path, end) in [("/slow", ""), ("/events", "0\r\n\r\n")] {
        let (start, mut socket) = (Instant::now(), server.connect_from(1));
        socket.write_all(&get(path)).await.expect("the server reads");
        sleep(SLOW / 2).await;
        assert_eq!(server.counts(), (0, 1));
        let (response, _) = read_until_close(&mut socket).await;
        let response = String::from_utf8(response).expect("the response is text");
        assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with(end), "{response}");
        // `/events` ends 20 s after the last event.
        let extra = if path == "/events" { 20 } else { 0 };
        assert_eq!(start.elapsed().as_secs(), SLOW.as_secs() + extra + 10);
    }
}

#[tokio::test(start_paused = true)]
async fn response_of_a_slow_reader_is_not_cut_off() {
    let server = server();
    let (start, mut socket) = (Instant::now(), server.connect_from(1));
    socket.write_all(&get("/large")).await.expect("the server reads");
    let (_, first) = read_response(&mut socket, 1).await;
    let mut body = first;
    while body.len() < LARGE {
        sleep(Duration::from_secs(1)).await;
        let mut chunk = [0; 8 * 1024];
        let len = socket.read(&mut chunk).await.expect("the connection is open");
        assert!(len > 0, "closed after {} bytes and {:?}", body.len(), start.elapsed());
        body.extend_from_slice(&chunk[..len]);
    }
    assert_eq!(body, vec![7; LARGE]);
    assert!(start.elapsed().as_secs() > 100);
    // The last part was in the pipe.
    let (_, closed_after) = read_until_close(&mut socket).await;
    assert!((5..=10).contains(&closed_after), "{closed_after} s");
}

#[tokio::test(start_paused = true)]
async fn slow_upload_completes() {
    let server = server();
    let mut socket = server.connect_from(1);
    socket.write_all(b"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60\r\n\r\n").await.expect("reads");
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        socket.write_all(b"x").await.expect("the connection is open");
    }
    assert_eq!(read_response(&mut socket, 2).await.1, b"60");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_never_arrive_and_responses_that_are_never_read_close_the_longest_busy_connections() {
    let log = Log::capture();
    let server = Server::new(ConnectionLimiter::builder().max_busy_connections(20).max_busy_connections_per_ip(5));
    let upload = b"POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60\r\n\r\n".to_vec();
    let mut sockets = Vec::new();
    for nth in 0..50 {
        let mut socket = server.connect_from(nth / 10);
        socket
            .write_all(if nth % 2 == 0 { &upload } else { b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" })
            .await
            .expect("reads");
        sleep(Duration::from_secs(60)).await;
        sockets.push(socket);
    }
    assert_eq!(server.counts(), (0, 20));
    // The first five of each address, and the other five of the first address.
    assert_eq!(server.closes(), [("max_busy_connections", 5), ("max_busy_connections_per_ip", 25)]);
    let lines = log.take();
    assert!(lines.iter().all(|line| line.contains("closed connections with a request in progress")), "{lines:?}");
    // An honest client gets through.
    let mut socket = server.connect_from(99);
    socket.write_all(REQUEST).await.expect("the server reads");
    assert_eq!(read_response(&mut socket, 5).await.1, b"hello");
}

#[tokio::test(start_paused = true)]
async fn client_that_closes_its_connection_ends_its_request() {
    let server = server();
    let mut socket = server.connect_from(1);
    socket.write_all(&get("/slow")).await.expect("the server reads");
    server.wait_for_counts((0, 1)).await;
    drop(socket);
    server.wait_for_counts((0, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn websocket_leaves_the_limiter_with_the_upgrade() {
    let server = Server::new(ConnectionLimiter::builder().max_handshakes(1));
    let mut peers = Vec::new();
    for id in 1..=2 {
        let socket = websocket::try_open("ws://localhost/signal/K", server.connect_from(1)).await;
        let mut peer = TestClient::new(socket.expect("the hub admits the peer")).answer_heartbeats();
        assert_eq!(peer.connect(id, &[]).await, id == 1);
        peers.push(peer);
    }
    assert_eq!(server.counts(), (0, 0));
    let [first, second] = &mut peers[..] else { unreachable!("there are two") };
    for _ in 0..20 {
        sleep(Duration::from_secs(3)).await;
        // Both answer heartbeats while they wait.
        second.send_content(0, "offer").await;
        let (link, offer) = first.recv_content().await;
        first.send_content(link, offer).await;
        assert_eq!(second.recv_content().await.1, "offer");
    }
    assert_eq!(server.closes(), []);
}

#[tokio::test(start_paused = true)]
async fn hub_knows_the_client_ip_of_a_limited_connection() {
    let server = server();
    let socket = websocket::try_open("ws://localhost/signal/K", server.connect_from(7)).await;
    let _peer = TestClient::new(socket.expect("the hub admits the peer"));
    let ips: Vec<_> = server.hub.peers("K").iter().map(|peer| peer.client_ip).collect();
    assert_eq!(ips, [Some([192, 0, 2, 7].into())]);
}

#[tokio::test(start_paused = true)]
async fn response_is_sent_before_its_connection_closes_as_the_oldest_idle_one() {
    let server = Server::new(ConnectionLimiter::builder().max_handshakes(1));
    let mut socket = server.connect_from(1);
    socket.write_all(&get("/slow")).await.expect("the server reads");
    server.wait_for_counts((0, 1)).await;
    let _silent = server.connect_from(2);
    sleep(SLOW - Duration::from_secs(1)).await;
    let _silent = server.connect_from(2);
    let (response, closed_after) = read_until_close(&mut socket).await;
    assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"\r\n\r\n"));
    assert_eq!((closed_after, server.counts()), (1, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn closes_are_logged_once_per_minute_with_their_number_and_a_client() {
    let log = Log::capture();
    let server = Server::new(ConnectionLimiter::builder().name("public").max_handshakes_per_ip(1));
    let mut sockets: Vec<_> = (0..10).map(|_| server.connect_from(1)).collect();
    let line = |connections| {
        format!(
            "WARN closed connections that had not completed the WebSocket handshake limiter=\"public\" \
             cause=\"max_handshakes_per_ip\" connections={connections} client_ip=192.0.2.1"
        )
    };
    assert_eq!(log.take(), [line(1)]);
    // The accept loop writes what is due. Timeouts of idle connections are not logged.
    let never = server.limiter.accept_from(std::future::pending::<std::io::Result<((), std::net::SocketAddr)>>);
    assert!(tokio::time::timeout(Duration::from_secs(70), never).await.is_err());
    assert_eq!((log.take(), server.closes()), (vec![line(8)], vec![("max_handshakes_per_ip", 9), ("idle_timeout", 1)]));
    sockets.extend((0..3).map(|_| server.connect_from(1)));
    assert_eq!(log.take(), [""; 0]);
    server.limiter.flush_log();
    assert_eq!(log.take(), [line(2)]);
}
