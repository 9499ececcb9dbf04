//! Tests of the warp adapter alone: composition with other filters.

#![cfg(feature = "warp")]

mod common;

use std::net::SocketAddr;

use common::open;
use sigver::SignalingHub;
use tokio::net::TcpListener;
use warp::Filter;

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
        assert_eq!(open(address, path).await.recv_close().await, 4741, "{path}");
    }
}
