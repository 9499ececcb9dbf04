//! Signaling and the admin service in an app on salvo.

use std::net::SocketAddr;

use salvo::conn::{Acceptor as _, TcpListener};
use salvo::http::ReqBody;
use salvo::prelude::{Listener as _, Request, Router, Server, TowerServiceCompat, handler};
use sigver::memory::TestClient;
use sigver::{SignalingHub, Transport, TransportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

/// Passes the client address to the hub, for its limits per IP.
#[handler]
async fn insert_client_address(request: &mut Request) {
    if let Some(client) = request.remote_addr().clone().into_std() {
        request.extensions_mut().insert::<SocketAddr>(client);
    }
}

fn app(hub: &SignalingHub) -> Router {
    let signal = sigver::hyper::service(hub.clone()).at("/signal");
    let admin = sigver::hyper::admin(hub.clone()).at("/internal/sigver");
    // The services accept bodies of all types, so that of salvo must be named.
    let signal = TowerServiceCompat::<ReqBody, _, _, _>::compat(signal);
    let admin = TowerServiceCompat::<ReqBody, _, _, _>::compat(admin);
    Router::new()
        .push(Router::with_path("signal/{**key}").hoop(insert_client_address).goal(signal))
        .push(Router::with_path("internal/sigver/{**path}").goal(admin))
}

async fn serve(hub: &SignalingHub) -> SocketAddr {
    let acceptor = TcpListener::new("127.0.0.1:0").bind().await;
    let address = acceptor.holdings()[0].local_addr.clone().into_std().expect("a TCP address");
    tokio::spawn(Server::new(acceptor).serve(app(hub)));
    address
}

async fn open(address: SocketAddr, path: &str) -> TestClient<impl Transport<Err = TransportError> + Unpin + use<>> {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let (stream, _) = client_async(format!("ws://{address}{path}"), socket).await.expect("the handshake succeeds");
    TestClient::new(sigver::hyper::transport(stream))
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut response = String::new();
    socket.read_to_string(&mut response).await.expect("the response is UTF-8");
    response
}

#[tokio::test]
async fn peers_meet_at_keys_in_path_and_query() {
    let hub = SignalingHub::new();
    let address = serve(&hub).await;
    let mut member = open(address, "/signal/k/1").await;
    assert!(member.connect(1, &[]).await);
    let mut joiner = open(address, "/signal?key=k/1").await;
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "offer").await;
    assert_eq!(member.recv_content().await.1, "offer");
    assert_eq!(open(address, "/signal/").await.recv_close().await.code, 4741);
    assert!(get(address, "/signal/K").await.starts_with("HTTP/1.1 426 "));
}

#[tokio::test]
async fn client_ip_is_the_address_that_a_hoop_has_inserted() {
    let hub = SignalingHub::new();
    let address = serve(&hub).await;
    let mut peer = open(address, "/signal/K").await;
    assert!(peer.connect(1, &[]).await);
    assert_eq!(hub.peers("K")[0].client_ip, Some(address.ip()));
}

#[tokio::test]
async fn admin_service_works_below_its_mount() {
    let address = serve(&SignalingHub::new()).await;
    for (path, text) in [("", "<!doctype html>"), ("/", "<!doctype html>"), ("/status", "{"), ("/readyz", "ready\n")] {
        let response = get(address, &format!("/internal/sigver{path}")).await;
        let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 ") && body.contains(text), "{path}: {response}");
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
    assert!(get(address, "/internal/sigver/nothing").await.starts_with("HTTP/1.1 404 "));
}
