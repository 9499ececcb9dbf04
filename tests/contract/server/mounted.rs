//! Servers that mount a hub with hyper, axum or warp, or upgrade their connections themselves.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use axum::extract::ws::WebSocketUpgrade;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use sigver::warp::Handshake;
use sigver::{JoinRequest, SignalingHub};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use warp::Filter as _;
use warp::path::FullPath;
use warp::ws::Ws;

use super::{Adapter, ByteStream, OpenRequest, Peer, TestServer, open_websocket, tcp_stream};

/// Starts a server at a free port, with the hub at `/signal`.
pub(super) async fn start(adapter: Adapter, hub: SignalingHub) -> Box<dyn TestServer> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    match adapter {
        Adapter::Axum => serve_axum(listener, axum::Router::new().nest_service("/signal", sigver::axum::router(hub))),
        Adapter::Warp => {
            let app = warp::path("signal").and(sigver::warp::filter(hub));
            tokio::spawn(warp::serve(app).incoming(listener).run());
        }
        Adapter::Hyper => {
            let service = sigver::hyper::service(hub).at("/signal");
            tokio::spawn(serve_hyper(listener, move |client| service.with_client_addr(client)));
        }
        Adapter::Tower => {
            // The service accepts a body of any type.
            let layers = ServiceBuilder::new().map_request(|request: axum::extract::Request| request.map(|_| "a body"));
            let service = layers.service(sigver::hyper::service(hub).at("/signal"));
            serve_axum(listener, axum::Router::new().fallback_service(service));
        }
        Adapter::AxumHandler => serve_axum(listener, axum_handler(hub)),
        Adapter::WarpHandler => {
            let app = warp::path("signal").and(sigver::warp::handshake()).then(move |handshake: Handshake| {
                let key = handshake.key();
                handshake.with_key(key).upgrade(hub.clone())
            });
            tokio::spawn(warp::serve(app).incoming(listener).run());
        }
        Adapter::HyperHandler => {
            tokio::spawn(serve_hyper(listener, move |client| hyper_handler(hub.clone(), client)));
        }
        Adapter::AxumUpgradedByApp => serve_axum(listener, axum_upgraded_by_app(hub)),
        Adapter::WarpUpgradedByApp => {
            tokio::spawn(warp::serve(warp_upgraded_by_app(hub)).incoming(listener).run());
        }
        Adapter::HyperUpgradedByApp => {
            tokio::spawn(serve_hyper(listener, move |client| hyper_upgraded_by_app(hub.clone(), client)));
        }
        Adapter::Memory
        | Adapter::MemoryNode
        | Adapter::MemoryCluster
        | Adapter::Standalone
        | Adapter::StandaloneTls
        | Adapter::StandaloneCluster => unreachable!("{adapter:?} is not mounted"),
    }
    Box::new(MountedServer { address })
}

struct MountedServer {
    address: SocketAddr,
}

#[async_trait]
impl TestServer for MountedServer {
    async fn try_open(&self, request: OpenRequest) -> Result<Peer, u16> {
        open_websocket(self, &request).await
    }

    async fn open_stream(&self) -> Box<dyn ByteStream> {
        tcp_stream(self.address).await
    }

    fn mount_path(&self) -> &'static str {
        "/signal"
    }
}

fn axum_handler(hub: SignalingHub) -> axum::Router {
    axum::Router::new().fallback(async move |request: axum::extract::Request| {
        let join = requested_by(request.uri());
        sigver::axum::upgrade_with(request, &hub, join).await
    })
}

fn hyper_handler(
    hub: SignalingHub,
    client: SocketAddr,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> {
    service_fn(move |request: Request<Incoming>| {
        let join = requested_by(request.uri()).with_client_ip(client.ip());
        let response = sigver::hyper::upgrade_with(request, &hub, join);
        async { Ok::<_, Infallible>(response.await) }
    })
}

fn axum_upgraded_by_app(hub: SignalingHub) -> axum::Router {
    axum::Router::new().fallback(
        async move |upgrade: WebSocketUpgrade, client: ConnectInfo<SocketAddr>, head: Parts| {
            let admitted = hub.admit(join_request(client.0, head)).await;
            sigver::axum::configure(upgrade, &hub).on_upgrade(async move |socket| {
                let transport = sigver::axum::transport(socket);
                match admitted {
                    Ok(permit) => permit.serve(transport).await,
                    Err(rejection) => hub.reject(transport, rejection).await,
                };
            })
        },
    )
}

fn warp_upgraded_by_app(
    hub: SignalingHub,
) -> impl warp::Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let head = warp::path::full().and(query).and(warp::header::headers_cloned()).and(warp::addr::remote());
    head.and(warp::ws()).map(move |path: FullPath, query: String, headers, client: Option<SocketAddr>, upgrade: Ws| {
        let (mut head, ()) = Request::new(()).into_parts();
        head.uri = format!("{}?{query}", path.as_str()).trim_end_matches('?').parse().expect("the URI is valid");
        head.headers = headers;
        let request = join_request(client.expect("a TCP connection has a remote address"), head);
        let hub = hub.clone();
        sigver::warp::configure(upgrade, &hub).on_upgrade(async move |socket| {
            hub.serve(sigver::warp::transport(socket), request).await;
        })
    })
}

fn hyper_upgraded_by_app(
    hub: SignalingHub,
    client: SocketAddr,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> {
    service_fn(move |mut request: Request<Incoming>| {
        let hub = hub.clone();
        let config = Some(sigver::hyper::websocket_config(&hub));
        let upgrade = hyper_tungstenite::upgrade(&mut request, config);
        let (response, socket) = upgrade.expect("the tests send only WebSocket handshakes here");
        let request = join_request(client, request.into_parts().0);
        tokio::spawn(async move {
            if let Ok(socket) = socket.await {
                hub.serve(sigver::hyper::transport(socket), request).await;
            }
        });
        ready(Ok::<_, Infallible>(response))
    })
}

/// Creates the join request of a connection that the app upgrades itself.
fn join_request(client: SocketAddr, head: Parts) -> JoinRequest {
    requested_by(&head.uri).with_client_ip(client.ip()).with_parts(head)
}

/// Creates the join request of a URL.
fn requested_by(uri: &Uri) -> JoinRequest {
    let tail = uri.path().strip_prefix("/signal").expect("the path is below the mount");
    JoinRequest::from_url(tail.strip_prefix('/').unwrap_or(tail), uri.query())
}

fn serve_axum(listener: TcpListener, app: axum::Router) {
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
}

async fn serve_hyper<S>(listener: TcpListener, service: impl Fn(SocketAddr) -> S) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    loop {
        let (socket, client) = listener.accept().await.expect("the listener accepts");
        let service = service(client);
        tokio::spawn(async move {
            // The peer's side of the test checks how the connection ends.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
        });
    }
}
