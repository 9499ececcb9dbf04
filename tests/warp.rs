//! Tests of the warp adapter alone: composition with other filters, keys of the app.

#![cfg(all(feature = "client", feature = "warp"))]

mod common;
#[cfg(feature = "http2")]
#[path = "common/http2.rs"]
mod http2;

use std::net::SocketAddr;

use common::open;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sigver::hyper::limiter::ConnectionHandle;
use sigver::warp::{Handshake, handshake};
use sigver::{JoinRequest, PeerInfo, SignalingHub};
use tokio::net::TcpListener;
use warp::Filter;
use warp::ws::Ws;

async fn serve<F>(app: F) -> SocketAddr
where
    F: Filter<Error = warp::Rejection> + Clone + Send + Sync + 'static,
    F::Extract: warp::Reply,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(warp::serve(app).incoming(listener).run());
    address
}

#[tokio::test]
async fn filter_composes_with_other_filters() {
    let hub = SignalingHub::new();
    let hello = warp::path!("hello" / String).map(|name| format!("hello {name}"));
    let signal = warp::path("api").and(warp::path("signal")).and(sigver::warp::filter(hub.clone()));
    let tenant = warp::path!("tenant" / u32 / ..).map(|_| ()).untuple_one().and(sigver::warp::filter(hub));
    let address = serve(hello.or(signal).or(tenant)).await;
    let mut first = open(address, "/api/signal/a/b").await;
    assert!(first.connect(1, &[]).await);
    for path in ["/api/signal?key=a/b", "/api/signal/?key=a/b", "/tenant/7/a%2Fb", "/tenant/7?key=a/b"] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
    for path in ["/api/signal", "/api/signal/", "/tenant/7"] {
        assert_eq!(open(address, path).await.recv_close().await.code, 4741, "{path}");
    }
}

#[tokio::test]
async fn filter_of_the_app_chooses_the_key_and_keeps_tenants_apart() {
    #[derive(Clone)]
    struct Document(u64);
    let hub = SignalingHub::builder().admission(async |request: JoinRequest| {
        let document = request.extension().map_or(0, |Document(document)| *document);
        let ip = request.client_ip().expect("warp knows the address");
        Ok(PeerInfo::new().identity(format!("{document} {ip}")))
    });
    let hub = hub.build().expect("valid settings");
    let [documents, tenants] = [hub.clone(), hub.clone()];
    let document =
        warp::path!("documents" / u64 / "signal").and(handshake()).then(move |document: u64, handshake: Handshake| {
            let handshake = handshake.with_key(format!("document {document}")).with_extension(Document(document));
            handshake.upgrade(documents.clone())
        });
    let tenant = warp::path!("t" / String / ..).and(handshake()).then(move |tenant: String, handshake: Handshake| {
        let key = handshake.key().and_then(|key| key.within(tenant));
        handshake.with_key(key).upgrade(tenants.clone())
    });
    let address = serve(document.or(tenant)).await;
    let mut peer = open(address, "/documents/7/signal?key=ignored").await;
    assert!(peer.connect(1, &[]).await);
    assert_eq!(hub.peers("document 7")[0].identity.as_deref(), Some("7 127.0.0.1"));

    let [mut first, mut favored] = [open(address, "/t/t1/r").await, open(address, "/t/t1/r?favored").await];
    assert!(first.connect(1, &[]).await);
    assert!(favored.connect(2, &[1]).await);
    let mut joiner = open(address, "/t/t1?key=r").await;
    assert!(!joiner.connect(3, &[]).await);
    joiner.send_content(0, "offer").await;
    assert_eq!(favored.recv_content().await.1, "offer");
    assert!(open(address, "/t/t2/r").await.connect(1, &[]).await, "another tenant");
    for (path, code) in [("/t/t1", 4741), ("/t/t1/%zz", 4745)] {
        assert_eq!(open(address, path).await.recv_close().await.code, code, "{path}");
    }
}

#[tokio::test]
async fn hub_knows_the_client_ip_behind_a_limiter() {
    let hub = SignalingHub::new();
    let signal = warp::path("signal").and(sigver::warp::filter(hub.clone()));
    let own_hub = hub.clone();
    let upgrade = warp::ext::optional().and(warp::ws());
    let own = warp::path("own").and(upgrade).map(move |connection: Option<ConnectionHandle>, upgrade: Ws| {
        let client_ip = connection.expect("a limiter serves the connection").client_ip();
        let (hub, join) = (own_hub.clone(), JoinRequest::new("K").with_client_ip(client_ip));
        sigver::warp::configure(upgrade, &hub).on_upgrade(async move |socket| {
            hub.serve(sigver::warp::transport(socket), join).await;
        })
    });
    let app = signal.or(own).map(warp::Reply::into_response).boxed();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        let limiter = sigver::hyper::ConnectionLimiter::new();
        loop {
            let (socket, _, connection) = limiter.accept_from(|| listener.accept()).await;
            let service = connection.service(TowerToHyperService::new(warp::service(app.clone())));
            tokio::spawn(connection.run(async move {
                http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await
            }));
        }
    });
    for path in ["/signal/K", "/own"] {
        let mut peer = open(address, path).await;
        assert!(peer.connect(1, &[]).await, "{path}");
        let ips: Vec<_> = hub.peers("K").iter().map(|peer| peer.client_ip).collect();
        assert_eq!(ips, [Some(address.ip())], "{path}");
        peer.close().await;
        while hub.stats().peers > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn websockets_over_http2_share_one_connection_that_the_limiter_keeps_open() {
    use hyper_util::rt::TokioExecutor;

    let hub = SignalingHub::builder().admission(async |request: JoinRequest| {
        let version = request.parts().map(|parts| parts.version);
        Ok(PeerInfo::new().identity(format!("{:?} {version:?}", request.client_ip())))
    });
    let hub = hub.build().expect("valid settings");
    let app = warp::path("signal").and(sigver::warp::filter(hub.clone())).map(warp::Reply::into_response).boxed();
    let limiter = sigver::hyper::ConnectionLimiter::new();
    let connection = limiter.accept([192, 0, 2, 1].into());
    let service = connection.service(TowerToHyperService::new(warp::service(app)));
    let (there, here) = tokio::io::duplex(64 * 1024);
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.enable_connect_protocol();
    tokio::spawn(connection.run(builder.serve_connection(TokioIo::new(there), service)));

    let mut client = http2::Http2Client::connect(here).await;
    client.assert_others_are_rejected().await;

    let mut peers = [client.open().await, client.open().await];
    let [member, joiner] = &mut peers;
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "offer").await;
    assert_eq!(member.recv_content().await.1, "offer");
    assert_eq!((limiter.handshakes(), limiter.busy_connections()), (0, 0), "the connection is exempt from the limits");
    let identities = hub.peers("K").into_iter().map(|peer| peer.identity);
    assert!(identities.eq([(); 2].map(|()| Some("Some(192.0.2.1) Some(HTTP/2.0)".into()))));
}
