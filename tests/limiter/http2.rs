//! Connections over HTTP/2: unfinished prefaces, pings, and several requests and WebSockets on one connection.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use sigver::hyper::ConnectionLimiter;
use sigver::memory::TestClient;
use sigver::{CloseFrame, Frame, SignalingHub, Transport, TransportError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, duplex, split};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::server::{LARGE, SLOW, Server, read_until_close};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// The headers of a request, without the flag that ends them: a CONTINUATION would follow.
const HALF_HEADERS: &[u8] = &[0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];

fn server() -> Server {
    Server::new(ConnectionLimiter::builder())
}

/// The client's end of an HTTP/2 connection.
pub(crate) struct Client {
    requests: SendRequest<Empty<Bytes>>,
    /// Ends with the connection.
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    /// Opens a connection with a window that is smaller than `/large`.
    async fn connect(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let handshake = builder.initial_stream_window_size(64 * 1024).handshake(TokioIo::new(socket)).await;
        let (requests, connection) = handshake.expect("HTTP/2");
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Opens a connection, and waits until the server has sent its settings.
    pub(crate) async fn open(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let mut client = Self::connect(socket).await;
        // hyper rejects an extended CONNECT before it has received the server's settings. The first response follows
        // them.
        let response = client.get("/").await.expect("a response");
        assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "hello");
        client
    }

    fn get(&mut self, path: &str) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let request = Request::get(format!("http://localhost{path}")).body(Empty::new()).expect("a request");
        self.requests.send_request(request)
    }

    async fn upgrade(&mut self, path: &str) -> TokioIo<hyper::upgrade::Upgraded> {
        let connect = Request::connect(format!("http://localhost{path}"))
            .version(Version::HTTP_2)
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
            .body(Empty::new())
            .expect("a request");
        let response = self.requests.send_request(connect).await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        TokioIo::new(hyper::upgrade::on(response).await.expect("an upgrade"))
    }

    /// Opens a WebSocket of the group `K`.
    pub(crate) async fn open_websocket(&mut self) -> impl Transport<Err = TransportError> + Unpin + use<> {
        let socket = self.upgrade("/signal/K").await;
        sigver::hyper::transport(WebSocketStream::from_raw_socket(socket, Role::Client, None).await)
    }

    /// Waits until the connection ends, and returns the time in seconds. The client keeps it open otherwise.
    async fn seconds_until_close(self) -> u64 {
        let (start, _requests) = (Instant::now(), self.requests);
        let closed = timeout(Duration::from_secs(3600), self.connection).await;
        _ = closed.expect("the server closes the connection").expect("no panic");
        start.elapsed().as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn client_without_a_complete_request_is_closed_after_the_idle_timeout() {
    let server = server();
    for bytes in [&PREFACE[..12], PREFACE, &[PREFACE, SETTINGS].concat(), &[PREFACE, SETTINGS, HALF_HEADERS].concat()] {
        let mut socket = server.connect_from(1);
        socket.write_all(bytes).await.expect("the server reads");
        assert_eq!(read_until_close(&mut socket).await.1, 10, "{bytes:?}");
    }
    assert_eq!((server.counts(), server.closes()), ((0, 0), vec![("idle_timeout", 4)]));
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_keep_a_connection_open() {
    let server = server();
    let (mut reader, mut writer) = split(server.connect_from(1));
    tokio::spawn(async move {
        writer.write_all(&[PREFACE, SETTINGS].concat()).await.expect("the server reads");
        while writer.write_all(PING).await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
    });
    let (frames, closed_after) = read_until_close(&mut reader).await;
    assert_eq!(closed_after, 10);
    assert!(frames.windows(8).filter(|bytes| *bytes == &PING[9..]).count() >= 19, "the pings were not answered");
}

#[tokio::test(start_paused = true)]
async fn requests_in_progress_keep_their_connection_open() {
    let server = server();
    let mut client = Client::open(server.connect_from(1)).await;
    assert_eq!(server.counts(), (1, 0));
    let (slow, events, large) = (client.get("/slow"), client.get("/events"), client.get("/large"));
    let (slow, events, large) = tokio::join!(slow, events, large);
    let (slow, events) = (slow.expect("a response"), events.expect("a response"));
    assert_eq!((slow.status(), server.counts()), (StatusCode::OK, (0, 1)));
    assert_eq!(events.into_body().collect().await.expect("a body").to_bytes().len(), 3 * "data: 0\n\n".len());
    // The client has not read the last response.
    sleep(SLOW).await;
    assert_eq!(server.counts(), (0, 1));
    let large = large.expect("a response").into_body().collect().await.expect("a body");
    assert_eq!(large.to_bytes().len(), LARGE);
    server.wait_for_counts((1, 0)).await;
    assert_eq!(client.seconds_until_close().await, 10);
}

#[tokio::test(start_paused = true)]
async fn reset_stream_ends_its_request() {
    let server = server();
    let mut client = Client::open(server.connect_from(1)).await;
    let slow = tokio::spawn(client.get("/slow"));
    server.wait_for_counts((0, 1)).await;
    slow.abort();
    server.wait_for_counts((1, 0)).await;
    assert_eq!(client.seconds_until_close().await, 10);
}

#[tokio::test(start_paused = true)]
async fn websockets_of_one_connection_keep_it_open_until_the_last_is_closed() {
    let server = Server::new(ConnectionLimiter::builder().max_handshakes(1).max_busy_connections(1));
    let mut client = Client::open(server.connect_from(1)).await;
    let mut peers = Vec::new();
    for id in 1..=2 {
        let mut peer = TestClient::new(client.open_websocket().await).answer_heartbeats();
        assert_eq!(peer.connect(id, &[]).await, id == 1);
        peers.push(peer);
    }
    assert_eq!(server.counts(), (0, 0));
    // Neither other connections nor time close it.
    let _silent = [(); 3].map(|()| server.connect_from(2));
    let [first, second] = &mut peers[..] else { unreachable!("there are two") };
    for _ in 0..20 {
        sleep(Duration::from_secs(3)).await;
        second.send_content(0, "offer").await;
        let (link, offer) = first.recv_content().await;
        first.send_content(link, offer).await;
        assert_eq!(second.recv_content().await.1, "offer");
    }
    let last = peers.pop().expect("there are two");
    peers.pop().expect("there is one").close().await;
    assert_eq!(server.counts(), (0, 0));
    last.close().await;
    server.wait_for_counts((1, 0)).await;
    assert_eq!(client.seconds_until_close().await, 10);
}

#[tokio::test(start_paused = true)]
async fn close_frames_arrive_although_other_connections_exceed_the_limit() {
    for closes_first in ["peer", "hub"] {
        let server = Server::new(ConnectionLimiter::builder().max_handshakes(2));
        let mut client = Client::open(server.connect_from(1)).await;
        let mut peer = client.open_websocket().await;
        let _silent = [(); 3].map(|()| server.connect_from(2));
        if closes_first == "peer" {
            peer.send(Frame::Close(Some(CloseFrame::new(4001, "bye")))).await.expect("the connection is open");
        } else {
            peer.send(Frame::Text("not a message".into())).await.expect("the connection is open");
        }
        let code = loop {
            match peer.next().await {
                Some(Ok(Frame::Close(frame))) => break frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        };
        assert_eq!(code, Some(if closes_first == "peer" { 4001 } else { 4743 }));
        drop(peer);
        // The connection is the youngest of the idle ones.
        server.wait_for_counts((2, 0)).await;
        let response = client.get("/").await.expect("the connection is open");
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn websocket_whose_client_vanishes_keeps_its_connection_until_the_hub_closes_it() {
    let server = server();
    let mut client = Client::open(server.connect_from(1)).await;
    let _deaf = client.open_websocket().await;
    let closed_after = client.seconds_until_close().await;
    // The hub closes a peer that misses its heartbeats, and waits for the close handshake.
    assert!((10 + 10..=10 + 20).contains(&closed_after), "{closed_after} s");
    assert_eq!(server.hub.stats().peers, 0);
}

#[tokio::test(start_paused = true)]
async fn websocket_of_the_app_keeps_its_connection_open() {
    let server = Server::new(ConnectionLimiter::builder().max_handshakes(1));
    let mut client = Client::open(server.connect_from(1)).await;
    let mut socket = client.upgrade("/chat").await;
    let _silent = server.connect_from(2);
    let _silent = server.connect_from(3);
    for _ in 0..10 {
        sleep(Duration::from_secs(60)).await;
        socket.write_all(b"x").await.expect("the connection is open");
    }
    assert_eq!(server.counts(), (0, 0), "the silent connections have timed out");
    socket.shutdown().await.expect("the connection is open");
    drop(socket);
    server.wait_for_counts((1, 0)).await;
    assert_eq!(client.seconds_until_close().await, 10);
}

#[tokio::test(start_paused = true)]
async fn response_is_sent_before_its_connection_closes_as_the_oldest_idle_one() {
    let server = Server::new(ConnectionLimiter::builder().max_handshakes(1));
    let mut client = Client::open(server.connect_from(1)).await;
    let slow = tokio::spawn(client.get("/slow"));
    server.wait_for_counts((0, 1)).await;
    sleep(SLOW - Duration::from_secs(1)).await;
    let _silent = server.connect_from(2);
    let response = slow.await.expect("no panic").expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((client.seconds_until_close().await, server.counts()), (0, (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn closed_connection_ends_its_requests_and_websockets() {
    let server = server();
    let (there, here) = duplex(16 * 1024);
    let served = server.serve([192, 0, 2, 1].into(), there);
    let mut client = Client::open(here).await;
    let mut peer = TestClient::new(client.open_websocket().await);
    assert!(peer.connect(1, &[]).await);
    let slow = tokio::spawn(client.get("/slow"));
    sleep(Duration::from_secs(1)).await;
    served.abort();
    slow.await.expect("no panic").expect_err("the connection is lost");
    while server.hub.stats().peers > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn graceful_shutdown_waits_for_websockets_and_not_for_silent_connections() {
    let (limiter, graceful) = (ConnectionLimiter::new(), GracefulShutdown::new());
    let hub = SignalingHub::new();
    let serve = |last: u8| {
        let (there, here) = duplex(16 * 1024);
        let connection = limiter.accept([192, 0, 2, last].into());
        let service = connection.service(sigver::hyper::service(hub.clone()).at("/signal"));
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http2().enable_connect_protocol();
        let served = http.serve_connection_with_upgrades(TokioIo::new(there), service).into_owned();
        tokio::spawn(connection.run(graceful.watch(served)));
        here
    };
    let mut client = Client::connect(serve(1)).await;
    assert_eq!(client.get("/").await.expect("a response").status(), StatusCode::NOT_FOUND);
    let mut peer = TestClient::new(client.open_websocket().await).answer_heartbeats();
    assert!(peer.connect(1, &[]).await);
    let mut silent = serve(2);
    silent.write_all(PREFACE).await.expect("the server reads");
    let start = Instant::now();
    let shutdown = tokio::spawn(async move {
        graceful.shutdown().await;
        start.elapsed().as_secs()
    });
    // The peer answers heartbeats while it waits.
    _ = timeout(Duration::from_secs(30), peer.recv()).await;
    peer.close().await;
    drop(client);
    assert_eq!(shutdown.await.expect("no panic"), 30);
}
