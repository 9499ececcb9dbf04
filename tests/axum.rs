//! Tests of the axum adapter alone: keys in routes, middleware, graceful shutdown, HTTP/2.

#![cfg(all(feature = "axum", feature = "http2"))]

mod common;
#[path = "common/log.rs"]
mod log;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use axum::routing::any;
use common::open;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::{Method, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use log::Log;
use sigver::memory::TestClient;
use sigver::{Frame, JoinRequest, PeerInfo, Rejection, SignalingHub};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn key_is_the_route_parameter_key_or_in_the_query() {
    let hub = SignalingHub::new();
    let handler = || sigver::axum::handler(hub.clone());
    let app = Router::new()
        .route("/query", handler())
        .route("/tail/{*key}", handler())
        .route("/segment/{key}/ws", handler())
        .nest("/{tenant}/nested", sigver::axum::router(hub.clone()))
        .nest("/outer", Router::new().route("/inner/{*key}", handler()));
    let address = serve(app).await;
    let mut first = open(address, "/query?key=a%2Fb").await;
    assert!(first.connect(1, &[]).await);
    for path in [
        "/query?key=a/b",
        "/tail/a/b",
        "/tail/%61/b?key=ignored",
        "/segment/a%2Fb/ws",
        "/tenant/nested/a/b",
        "/tenant/nested?key=a%2fb",
        "/outer/inner/a/b",
    ] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
}

#[tokio::test]
async fn nested_service_serves_every_path_below_its_mount() {
    let app = Router::new().nest_service("/signal", sigver::axum::router(SignalingHub::new())).fallback("not found");
    let address = serve(app).await;
    for path in ["/signal", "/signal/", "/signal/?favored"] {
        assert_eq!(open(address, path).await.recv_close().await, 4741, "{path}");
    }
    assert_eq!(open(address, "/signal/%zz").await.recv_close().await, 4745);
    let mut first = open(address, "/signal/a/b").await;
    assert!(first.connect(1, &[]).await);
    for path in ["/signal/?key=a/b", "/signal?key=a/b", "/signal/a%2Fb"] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
    for key in ["/a/b", "a/b/"] {
        assert!(open(address, &format!("/signal/{key}")).await.connect(1, &[]).await, "{key} is another key");
    }
}

#[tokio::test]
async fn key_is_found_in_a_rewritten_path() {
    let inner = Router::new().route("/ws/{*key}", sigver::axum::handler(SignalingHub::new()));
    let rewrite = map_request(async |mut request: Request| {
        let path = request.uri().path().replace("/old/path/", "/ws/");
        *request.uri_mut() = path.parse().expect("a path");
        request
    });
    let app = Router::new().fallback_service(inner).layer(rewrite);
    let address = serve(app).await;
    let mut first = open(address, "/old/path/a/b").await;
    assert!(first.connect(1, &[]).await);
    assert!(!open(address, "/ws/a/b").await.connect(2, &[]).await);
}

#[tokio::test]
async fn router_merged_at_the_root_serves_all_remaining_paths() {
    let app = Router::new().route("/hello", any("hello")).merge(sigver::axum::router(SignalingHub::new()));
    let address = serve(app).await;
    let mut first = open(address, "/a/b").await;
    assert!(first.connect(1, &[]).await);
    assert!(!open(address, "/?key=a/b").await.connect(2, &[]).await);
}

#[tokio::test]
async fn two_websockets_over_http2_share_one_connection() {
    let app = Router::new().nest("/signal", sigver::axum::router(SignalingHub::new()));
    let socket = TokioIo::new(TcpStream::connect(serve(app).await).await.expect("the server listens"));
    let (mut client, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), socket).await.expect("HTTP/2");
    tokio::spawn(connection);

    let connect_as = |protocol: &'static str, version: &str| {
        hyper::Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri("http://localhost/signal/K")
            .header("sec-websocket-version", version)
            .extension(Protocol::from_static(protocol))
            .body(Empty::new())
            .expect("a request")
    };
    // hyper rejects an extended CONNECT until it has received the server's settings. The first response follows them.
    let plain = hyper::Request::get("http://localhost/signal/K").body(Empty::new()).expect("a request");
    let response = client.send_request(plain).await.expect("a response");
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    let connect = |version| connect_as("websocket", version);
    let response = client.send_request(connect_as("connect-udp", "13")).await.expect("a response");
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    let response = client.send_request(connect("8")).await.expect("a response");
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()["sec-websocket-version"], "13");

    let mut peers = Vec::new();
    for _ in 0..2 {
        let response = client.send_request(connect("13")).await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        let upgraded = TokioIo::new(hyper::upgrade::on(response).await.expect("an upgrade"));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        peers.push(TestClient::new(sigver::hyper::transport(stream)));
    }
    let [member, joiner] = &mut peers[..] else { unreachable!("the loop adds two") };
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "offer").await;
    let (link, offer) = member.recv_content().await;
    assert_eq!(offer, "offer");
    member.send_content(link, "answer").await;
    assert_eq!(joiner.recv_content().await.1, "answer");
    joiner.send_frame(Frame::Text("x".into())).await;
    assert_eq!(joiner.recv_close().await, 4743);
    assert_eq!(member.recv_content().await, (link, "".into()));
}

#[tokio::test]
async fn admission_hook_sees_extensions_from_middleware() {
    #[derive(Clone)]
    struct User(&'static str);
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        let user = request.parts().and_then(|parts| parts.extensions.get::<User>());
        user.map(|User(name)| PeerInfo::new().identity(*name))
            .ok_or(Rejection::http(StatusCode::UNAUTHORIZED, "login required"))
    });
    let hub = builder.build().expect("valid settings");
    let log_in = map_request(|mut request: Request| async {
        if request.headers().contains_key("x-alice") {
            request.extensions_mut().insert(User("alice"));
        }
        request
    });
    let signal = sigver::axum::router::<()>(hub.clone()).layer(log_in);
    let address = serve(Router::new().nest_service("/signal", signal)).await;
    let request = |alice| {
        let request = Request::get("/signal/K").header("host", "localhost").header("connection", "upgrade");
        let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
        let request = request.header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        let request = if alice { request.header("x-alice", "1") } else { request };
        request.body(Empty::<Bytes>::new()).expect("a request")
    };
    for (alice, status) in [(false, StatusCode::UNAUTHORIZED), (true, StatusCode::SWITCHING_PROTOCOLS)] {
        let socket = TokioIo::new(TcpStream::connect(address).await.expect("the server listens"));
        let (mut client, connection) = hyper::client::conn::http1::handshake(socket).await.expect("HTTP");
        tokio::spawn(connection.with_upgrades());
        assert_eq!(client.send_request(request(alice)).await.expect("an answer").status(), status);
    }
}

#[tokio::test]
async fn drain_with_graceful_shutdown_closes_peers_with_1001_and_ends_the_server() {
    let hub = SignalingHub::new();
    let app = Router::new().nest_service("/signal", sigver::axum::router(hub.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stop_hub = hub.clone();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stopped.await.expect("the test sends the signal");
        assert_eq!(stop_hub.drain(Duration::from_millis(1200)).await, 0);
    });
    let server = tokio::spawn(server.into_future());
    let mut peers = [open(address, "/signal/K").await, open(address, "/signal/L").await];
    for peer in &mut peers {
        assert!(peer.connect(1, &[]).await);
    }
    stop.send(()).expect("the server waits for the signal");
    for peer in &mut peers {
        assert_eq!(peer.recv_close().await, 1001);
    }
    drop(peers);
    server.await.expect("the server does not panic").expect("the server ends without an error");
    TcpStream::connect(address).await.expect_err("the server no longer listens");
}

#[tokio::test]
async fn handler_of_the_app_chooses_the_key_of_the_upgrade() {
    let hub = SignalingHub::new();
    let handler = {
        let hub = hub.clone();
        async move |request: Request| sigver::hyper::upgrade_with(request, &hub, "the lobby").await
    };
    let address = serve(Router::new().route("/", any(handler))).await;
    assert!(open(address, "/").await.connect(1, &[]).await);
    assert_eq!(hub.peers("the lobby").len(), 1);
}

#[tokio::test]
async fn first_peer_without_connect_info_is_logged_once() {
    let log = Log::capture();
    let address = serve(sigver::axum::router(SignalingHub::new())).await;
    for _ in 0..2 {
        assert!(open(address, "/K").await.connect(1, &[1]).await);
    }
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.contains("into_make_service_with_connect_info")), "{lines:?}");
}
