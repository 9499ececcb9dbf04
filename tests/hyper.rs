//! Tests of the hyper adapter alone: where a service is mounted, requests from the app, slow upgrades.

#![cfg(all(feature = "client", feature = "hyper", feature = "http2"))]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use common::open;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::Version;
use hyper::body::{Bytes, Incoming};
use hyper::ext::Protocol;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sigver::memory::TestClient;
use sigver::{Cause, JoinRequest, PeerInfo, SignalingHub, Transport, TransportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("the listener accepts");
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
            tokio::spawn(served.with_upgrades());
        }
    });
    address
}

#[tokio::test]
async fn service_serves_every_path_below_its_mount() {
    let hub = SignalingHub::new();
    for (mount, base) in [("/signal", "/signal"), ("signal/", "/signal"), ("/a/b", "/a/b"), ("/", ""), ("", "")] {
        let address = serve(sigver::hyper::service(hub.clone()).at(mount)).await;
        let mut first = open(address, &format!("{base}/k/1")).await;
        assert!(first.connect(1, &[]).await);
        assert!(!open(address, &format!("{base}/?key=k/1")).await.connect(2, &[]).await);
        assert_eq!(open(address, &format!("{base}/")).await.recv_close().await.code, 4741);
        first.close().await;
        while hub.stats().peers > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn service_answers_404_outside_of_its_mount() {
    let service = sigver::hyper::service(SignalingHub::new()).at("/signal");
    for path in ["/", "/hello", "/signals", "/Signal/K"] {
        let request = Request::get(path).body(Empty::<Bytes>::new()).expect("a request");
        let response = service.call(request).await.expect("the service is infallible");
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn custom_service_passes_requests_to_upgrade() {
    let hub = SignalingHub::new();
    let answer = move |request: Request<Incoming>| {
        let hub = hub.clone();
        async move {
            Ok::<_, Infallible>(match request.uri().path() {
                "/signal" => sigver::hyper::upgrade(request, &hub).await,
                "/lobby" => sigver::hyper::upgrade_with(request, &hub, "the lobby").await,
                _ => Response::new(Full::from("hello")),
            })
        }
    };
    let address = serve(service_fn(answer)).await;
    let mut first = open(address, "/signal?key=the+lobby").await;
    assert!(first.connect(1, &[]).await);
    for path in ["/signal?key=the%20lobby", "/lobby", "/lobby?key=ignored"] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
}

#[tokio::test]
async fn custom_service_passes_extensions_and_the_client_ip_to_the_hook() {
    let hub = SignalingHub::builder().admission(async |request: JoinRequest| {
        let user = request.extension::<&str>().expect("the service set it");
        Ok(PeerInfo::new().identity(format!("{user} {:?}", request.client_ip())))
    });
    let hub = hub.build().expect("valid settings");
    let answer = {
        let hub = hub.clone();
        move |request: Request<Incoming>| {
            let join = JoinRequest::new("K").with_extension("alice").with_client_ip([192, 0, 2, 7].into());
            let response = sigver::hyper::upgrade_with(request, &hub, join);
            async { Ok::<_, Infallible>(response.await) }
        }
    };
    let address = serve(service_fn(answer)).await;
    assert!(open(address, "/").await.connect(1, &[]).await);
    assert_eq!(hub.peers("K")[0].identity.as_deref(), Some("alice Some(192.0.2.7)"));
}

/// Returns the answer to a WebSocket over HTTP/2 (RFC 8441) of a server with this builder.
async fn open_over_http2(
    builder: http2::Builder<TokioExecutor>,
) -> hyper::Result<TestClient<impl Transport<Err = TransportError> + Unpin>> {
    let (there, here) = tokio::io::duplex(64 * 1024);
    let service = sigver::hyper::service(SignalingHub::new()).at("/signal");
    tokio::spawn(builder.serve_connection(TokioIo::new(there), service));
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(here)).await?;
    tokio::spawn(connection);
    // hyper rejects an extended CONNECT until it has received the server's settings. The first response follows them.
    let plain = Request::get("http://localhost/signal/K").body(Empty::new()).expect("a request");
    assert_eq!(client.send_request(plain).await?.status(), StatusCode::UPGRADE_REQUIRED);
    let connect = Request::connect("http://localhost/signal/K")
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())
        .expect("a request");
    let response = client.send_request(connect).await?;
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await?);
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    Ok(TestClient::new(sigver::hyper::transport(stream)))
}

#[tokio::test]
async fn websocket_over_http2_requires_enable_connect_protocol() {
    let builder = || http2::Builder::new(TokioExecutor::new());
    let mut with_connect_protocol = builder();
    with_connect_protocol.enable_connect_protocol();
    let mut peer = open_over_http2(with_connect_protocol).await.expect("the server accepts an extended CONNECT");
    assert!(peer.connect(1, &[]).await);
    let error = open_over_http2(builder()).await.err().expect("the server did not announce RFC 8441");
    assert!(error.is_user() || error.to_string().contains("http2"), "{error:?}");
}

#[cfg(feature = "turn")]
#[tokio::test]
async fn get_over_http2_returns_ice_servers() {
    let servers = sigver::IceServers::new().stun(["stun:a.example"]);
    let hub = SignalingHub::builder().ice_servers(servers).build().expect("valid settings");
    let (there, here) = tokio::io::duplex(64 * 1024);
    let server = http2::Builder::new(TokioExecutor::new());
    tokio::spawn(server.serve_connection(TokioIo::new(there), sigver::hyper::service(hub)));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(here));
    let (mut client, connection) = handshake.await.expect("an HTTP/2 connection");
    tokio::spawn(connection);
    for (accept, status) in [("application/json", StatusCode::OK), ("*/*", StatusCode::UPGRADE_REQUIRED)] {
        let request = Request::get("http://localhost/K").header("accept", accept);
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let response = client.send_request(request).await.expect("a response");
        assert_eq!((response.status(), response.version()), (status, Version::HTTP_2));
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert!(!response.headers().contains_key("upgrade"), "HTTP/2 forbids it");
        if status == StatusCode::OK {
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert_eq!(body, r#"{"iceServers":[{"urls":["stun:a.example"]}],"ttl":3600}"#);
        }
    }
}

/// Returns a connection whose upgrade waits for the peer, because the response does not fit into the pipe.
async fn half_upgraded(hub: &SignalingHub) -> DuplexStream {
    let (there, mut here) = tokio::io::duplex(16);
    let service = sigver::hyper::service(hub.clone());
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(there), service).with_upgrades());
    let request = "GET /K HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    here.write_all(request.as_bytes()).await.expect("the server reads");
    here
}

async fn read_response(socket: &mut DuplexStream) {
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(socket.read_u8().await.expect("the server answers"));
    }
    assert!(response.starts_with(b"HTTP/1.1 101 "));
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_pending_upgrade() {
    let hub = SignalingHub::new();
    let mut peer = half_upgraded(&hub).await;
    tokio::task::yield_now().await;
    let closed = async {
        read_response(&mut peer).await;
        let mut close = [0; 4];
        peer.read_exact(&mut close).await.expect("a close frame");
        assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
        "closed"
    };
    // Which of the two ends first.
    let first = tokio::select! {
        biased;
        () = hub.shutdown() => "shutdown",
        closed = closed => closed,
    };
    assert_eq!(first, "closed");
}

#[tokio::test(start_paused = true)]
async fn upgrade_timeout_disconnects_a_peer_that_does_not_read_the_response() {
    let hub = SignalingHub::builder().upgrade_timeout(Duration::from_secs(7)).build().expect("valid settings");
    for (waits, expected) in [(6, true), (8, false)] {
        let mut peer = half_upgraded(&hub).await;
        tokio::time::sleep(Duration::from_secs(waits)).await;
        read_response(&mut peer).await;
        // A heartbeat, or the end of the stream.
        assert_eq!(peer.read_u8().await.is_ok(), expected, "after {waits} s");
    }
    assert_eq!(hub.stats().rejections.get(Cause::UpgradeTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn upgrade_timeout_of_a_rejected_peer_counts_no_second_rejection() {
    let builder = SignalingHub::builder().upgrade_timeout(Duration::from_secs(7)).max_peers(1);
    let hub = builder.build().expect("valid settings");
    let _permit = hub.admit("K").await.expect("the first peer");
    let _peer = half_upgraded(&hub).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let rejections = hub.stats().rejections;
    assert_eq!((rejections.get(Cause::MaxPeers), rejections.total()), (1, 1));
}
