//! Tests of the axum adapter alone: keys in routes, middleware, graceful shutdown, HTTP/2.

#![cfg(all(feature = "axum", feature = "client", feature = "http2"))]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/http2.rs"]
mod http2;
#[path = "../common/log.rs"]
mod log;
mod routes;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::map_request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use common::open;
use http_body_util::{BodyExt as _, Empty};
use http2::Http2Client;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use log::Log;
use sigver::{Frame, JoinRequest, PeerInfo, Rejection, SignalingHub};
use tokio::net::{TcpListener, TcpStream};

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn two_websockets_over_http2_share_one_connection() {
    let app = Router::new().nest("/signal", sigver::axum::router(SignalingHub::new()));
    let mut client =
        Http2Client::connect(TcpStream::connect(serve(app).await).await.expect("the server listens")).await;
    client.assert_others_are_rejected().await;

    let mut peers = [client.open().await, client.open().await];
    let [member, joiner] = &mut peers;
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "offer").await;
    let (link, offer) = member.recv_content().await;
    assert_eq!(offer, "offer");
    member.send_content(link, "answer").await;
    assert_eq!(joiner.recv_content().await.1, "answer");
    joiner.send_frame(Frame::Text("x".into())).await;
    assert_eq!(joiner.recv_close().await.code, 4743);
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
        assert_eq!(peer.recv_close().await.code, 1001);
    }
    drop(peers);
    server.await.expect("the server does not panic").expect("the server ends without an error");
    TcpStream::connect(address).await.expect_err("the server no longer listens");
}

#[tokio::test]
async fn handler_passes_key_client_ip_and_extensions_of_app_and_middleware_to_the_hook() {
    #[derive(Clone)]
    struct OfMiddleware(u8);
    #[derive(Clone)]
    struct OfHandler(u8);
    let hub = SignalingHub::builder().admission(async |request: JoinRequest| {
        let OfMiddleware(first) = request.extension().expect("the middleware ran");
        let OfHandler(second) = request.extension().expect("the handler ran");
        let document = sigver::axum::path_param(request.parts().expect("a head"), "document")?;
        let ip = request.client_ip().expect("the server passes addresses");
        Ok(PeerInfo::new().identity(format!("{first} {second} {document} {ip}")))
    });
    let hub = hub.build().expect("valid settings");
    let handler = async |State(hub): State<SignalingHub>, Path(document): Path<u64>, request: Request| {
        let join = JoinRequest::new(format!("document {document}")).with_extension(OfHandler(2));
        let join = if document == 7 { join } else { join.with_client_ip([192, 0, 2, 7].into()) };
        sigver::axum::upgrade_with(request, &hub, join).await
    };
    let app = Router::new().route("/documents/{document}", any(handler)).with_state(hub.clone());
    let app = app.layer(map_request(async |mut request: Request| {
        request.extensions_mut().insert(OfMiddleware(1));
        request
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for (document, identity) in [(7, "1 2 7 127.0.0.1"), (8, "1 2 8 192.0.2.7")] {
        let mut peer = open(address, &format!("/documents/{document}")).await;
        assert!(peer.connect(1, &[]).await);
        assert_eq!(hub.peers(format!("document {document}"))[0].identity.as_deref(), Some(identity));
    }
}

#[tokio::test]
async fn handler_can_return_a_rejection_as_a_response() {
    let handler = async |request: Request| -> Result<Response, Rejection> {
        let rejection =
            Rejection::http(StatusCode::UNAUTHORIZED, "log in first").with_header("www-authenticate", "Bearer");
        request.headers().contains_key("x-alice").then(|| "hello".into_response()).ok_or(rejection)
    };
    let address = serve(Router::new().route("/", get(handler))).await;
    let socket = TokioIo::new(TcpStream::connect(address).await.expect("the server listens"));
    let (mut client, connection) = hyper::client::conn::http1::handshake(socket).await.expect("HTTP");
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "localhost").body(Empty::<Bytes>::new()).expect("a request");
    let response = client.send_request(request).await.expect("a response");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "log in first\n");
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
