//! What is hyper's own: where a service is mounted, and requests that the app hands over.

#![cfg(feature = "hyper")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;

use common::open;
use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sigver::SignalingHub;
use tokio::net::TcpListener;

async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("the listener works");
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
            tokio::spawn(served.with_upgrades());
        }
    });
    address
}

#[tokio::test]
async fn a_service_serves_what_is_below_its_mount() {
    let hub = SignalingHub::new();
    for (mount, base) in [("/signal", "/signal"), ("signal/", "/signal"), ("/a/b", "/a/b"), ("/", ""), ("", "")] {
        let address = serve(sigver::hyper::service(hub.clone()).at(mount)).await;
        let mut first = open(address, &format!("{base}/k/1")).await;
        assert!(first.ask(1, &[]).await);
        assert!(!open(address, &format!("{base}/?key=k/1")).await.ask(2, &[]).await);
        assert_eq!(open(address, &format!("{base}/")).await.closed().await, 4741);
        first.close().await;
        while hub.stats().peers > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_service_answers_404_elsewhere_and_says_where_it_is() {
    let service = sigver::hyper::service(SignalingHub::new()).at("/signal");
    for path in ["/", "/hello", "/signals", "/Signal/K"] {
        let request = Request::get(path).body(Empty::<Bytes>::new()).expect("a request");
        let response = service.call(request).await.expect("it never fails");
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_service_written_by_hand_hands_requests_over() {
    let hub = SignalingHub::new();
    let answer = move |request: Request<Incoming>| {
        let response = match request.uri().path() {
            "/signal" => sigver::hyper::upgrade(request, &hub),
            "/lobby" => sigver::hyper::upgrade_as(request, &hub, "the lobby"),
            _ => Response::new(Full::from("hello")),
        };
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let address = serve(service_fn(answer)).await;
    let mut first = open(address, "/signal?key=the+lobby").await;
    assert!(first.ask(1, &[]).await);
    for path in ["/signal?key=the%20lobby", "/lobby", "/lobby?key=ignored"] {
        assert!(!open(address, path).await.ask(2, &[]).await, "{path}");
    }
}
