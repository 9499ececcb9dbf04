//! Tests of `hyper::Service` as a service of tower: behind routers and layers, and where it finds the client IP.

#![cfg(all(feature = "axum", feature = "client", feature = "hyper"))]

mod common;

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use common::open;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sigver::SignalingHub;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt as _};

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 4711);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

async fn serve(app: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Opens a peer in the group of this path, and returns the client IP that the hub knows for it.
async fn client_ip(address: SocketAddr, hub: &SignalingHub) -> Option<IpAddr> {
    let mut peer = open(address, "/signal/K").await;
    assert!(peer.connect(1, &[]).await);
    hub.peers("K")[0].client_ip
}

#[tokio::test]
async fn service_works_in_route_service_nest_service_and_fallback_service() {
    let hub = SignalingHub::new();
    let (root, signal) = (sigver::hyper::service(hub.clone()), sigver::hyper::service(hub.clone()).at("/signal"));
    for (app, with_slash) in [
        (Router::new().route_service("/signal", signal.clone()).route_service("/signal/{*key}", signal.clone()), false),
        (Router::new().nest_service("/signal", root), true),
        (Router::new().fallback_service(signal), true),
    ] {
        let address = serve(app).await;
        let mut member = open(address, "/signal/k/1").await;
        assert!(member.connect(1, &[]).await);
        assert!(!open(address, "/signal?key=k/1").await.connect(2, &[]).await);
        if with_slash {
            assert_eq!(open(address, "/signal/").await.recv_close().await.code, 4741);
        }
        member.close().await;
        while hub.stats().peers > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn service_works_behind_layers_in_a_server_of_hyper() {
    let layers =
        ServiceBuilder::new().boxed_clone().map_request(|request: hyper::Request<Incoming>| request.map(|_| 7));
    let stack = layers.service(sigver::hyper::service(SignalingHub::new()).at("/signal"));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("the listener accepts");
            let service = TowerToHyperService::new(stack.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades());
        }
    });
    let mut member = open(address, "/signal/K").await;
    assert!(member.connect(1, &[]).await);
    assert!(!open(address, "/signal?key=K").await.connect(2, &[]).await);
}

#[tokio::test]
async fn service_is_ready_for_a_request_without_an_upgrade() {
    let service = sigver::hyper::service(SignalingHub::new()).at("/signal");
    for (path, status) in [("/signal/K", StatusCode::UPGRADE_REQUIRED), ("/signals", StatusCode::NOT_FOUND)] {
        let request = Request::get(path).body("any body").expect("a request");
        assert_eq!(service.clone().oneshot(request).await.expect("it never fails").status(), status, "{path}");
    }
}

#[tokio::test]
async fn client_ip_is_unknown_without_an_address() {
    let hub = SignalingHub::new();
    let app = Router::new().fallback_service(sigver::hyper::service(hub.clone()).at("/signal"));
    assert_eq!(client_ip(serve(app).await, &hub).await, None);
}

#[tokio::test]
async fn client_ip_is_the_address_in_connect_info() {
    let hub = SignalingHub::new();
    let app = Router::new().fallback_service(sigver::hyper::service(hub.clone()).at("/signal"));
    let (listener, address) = listen().await;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(client_ip(address, &hub).await, Some(address.ip()));
}

#[tokio::test]
async fn client_ip_is_the_address_that_middleware_has_inserted() {
    let hub = SignalingHub::new();
    let insert = map_request(async |mut request: Request| {
        request.extensions_mut().insert(CLIENT);
        request
    });
    let app = Router::new().fallback_service(sigver::hyper::service(hub.clone()).at("/signal")).layer(insert);
    assert_eq!(client_ip(serve(app).await, &hub).await, Some(CLIENT.ip()));
}

#[tokio::test]
async fn address_of_the_connection_precedes_the_extensions_of_a_request() {
    let hub = SignalingHub::new();
    let service = sigver::hyper::service(hub.clone()).at("/signal").with_client_addr(CLIENT);
    let (listener, address) = listen().await;
    let app = Router::new().fallback_service(service).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(client_ip(address, &hub).await, Some(CLIENT.ip()));
}

#[tokio::test]
async fn handshake_without_the_upgrade_of_the_server_gets_500_that_explains_it() {
    let app = Router::new().fallback_service(sigver::hyper::service(SignalingHub::new()));
    for (upgrade, status) in [("websocket", StatusCode::INTERNAL_SERVER_ERROR), ("h2c", StatusCode::UPGRADE_REQUIRED)] {
        let request = Request::get("/K").header("connection", "upgrade").header("upgrade", upgrade);
        let request =
            request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let response = app.clone().oneshot(request.body(axum::body::Body::empty()).expect("a request")).await;
        let response = response.expect("the service does not fail");
        assert_eq!(response.status(), status);
        let body = axum::body::to_bytes(response.into_body(), 1000).await.expect("a short body");
        let explains = String::from_utf8_lossy(&body).contains("`OnUpgrade`");
        assert_eq!(explains, status == StatusCode::INTERNAL_SERVER_ERROR);
    }
}
