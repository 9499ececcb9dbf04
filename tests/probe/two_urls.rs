//! Two URLs: whether two servers belong to one hub.

use std::future::ready;
use std::time::Duration;

use hyper::Request;
use hyper::service::service_fn;
use sigver::cluster::{MemoryBackplane, Outage};
use sigver::{ClusterConfig, SignalingHub};

use crate::servers::{empty_response, fast_hub, http};
use crate::{fails, passes, probe};

/// Starts a server of the cluster on this engine.
async fn start(engine: &MemoryBackplane) -> String {
    let builder = SignalingHub::builder().heartbeat_interval(Duration::from_millis(500));
    let (hub, driver) = builder.build_cluster(ClusterConfig::new(engine.connect())).expect("valid settings");
    tokio::spawn(driver);
    format!("ws://{}/", http(sigver::hyper::service(hub)).await)
}

#[tokio::test]
async fn servers_of_one_cluster_are_one_hub() {
    let engine = MemoryBackplane::new();
    let [a, b] = [start(&engine).await, start(&engine).await];
    let output = passes(&[&a, &b], &["tls", "idle"]).await;
    let checks: Vec<_> = output.lines().map(|line| line[..13.min(line.len())].trim()).collect();
    let expected = ["url", "second url", "dns", "tcp", "tls", "websocket", "first peer", "second peer", "one hub"];
    assert_eq!(checks[..expected.len()], expected);
    assert!(output.contains("the peer of the second URL is bound to that of the first"), "{output}");
    // Each URL may take the key from another position.
    passes(&[&a, &format!("{b}?key={{key}}")], &["tls", "idle"]).await;
}

#[tokio::test]
async fn separate_servers_are_reported() {
    let [a, b] = [http(sigver::hyper::service(fast_hub())).await, http(sigver::hyper::service(fast_hub())).await];
    let [a, b] = [format!("ws://{a}/"), format!("ws://{b}/")];
    let words = ["do not belong to one hub", "--cluster-url, --cluster-name"];
    let output = fails(&[&a, &b], "one hub", &words).await;
    // The other checks do not depend on the group.
    assert!(output.lines().any(|line| line.starts_with("text message  ok ")), "{output}");
}

#[tokio::test]
async fn second_server_that_is_unreachable_is_reported() {
    let a = format!("ws://{}/", http(sigver::hyper::service(fast_hub())).await);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let b = format!("ws://{}/", closed.local_addr().expect("a bound socket has an address"));
    drop(closed);
    fails(&[&a, &b], "second peer", &["connection refused"]).await;
    let service = service_fn(|_: Request<_>| ready(Ok(empty_response(hyper::StatusCode::NOT_FOUND))));
    fails(&[&a, &format!("ws://{}/", http(service).await)], "second peer", &["HTTP 404"]).await;
}

#[tokio::test]
async fn server_that_cannot_reach_its_cluster_is_reported() {
    let engine = MemoryBackplane::new();
    engine.outage(Outage::Lose);
    let config = ClusterConfig::new(engine.connect()).connect_answer_timeout(Duration::from_secs(1));
    let (hub, driver) = SignalingHub::builder().build_cluster(config).expect("valid settings");
    tokio::spawn(driver);
    let cut_off = format!("ws://{}/", http(sigver::hyper::service(hub)).await);
    fails(&[&cut_off], "first peer", &["closed with 1013", "cannot reach the Redis of its cluster"]).await;
    let patient = start(&engine).await;
    fails(&[&patient, "--timeout", "1"], "first peer", &["answer to connect timed out", "/readyz"]).await;
}

#[tokio::test]
async fn key_in_one_of_the_urls_is_reported() {
    let a = format!("ws://{}/", http(sigver::hyper::service(fast_hub())).await);
    fails(&[&a, &format!("{a}mine")], "second url", &["one URL contains a key"]).await;
    // The same key in both is what the user wants.
    passes(&[&format!("{a}mine"), &format!("{a}mine")], &["tls", "idle", "empty key"]).await;
}

#[tokio::test]
async fn invalid_second_url_exits_with_code_2() {
    let (code, output) = probe(&["ws://localhost/", "http://localhost/"]).await;
    assert_eq!(code, 2);
    assert!(output.contains("must begin with ws:// or wss://"), "{output}");
}
