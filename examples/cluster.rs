//! Two axum servers that act as one hub: peers with the same key meet, whichever server each is connected to.
//!
//! Run it with: `cargo run --features axum,client,redis --example cluster [redis://127.0.0.1:6379]`
//!
//! Without a URL, the two servers share an engine in this process. Servers in different processes need Redis.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use sigver::client::{self, Event, Remote};
use sigver::cluster::{MemoryBackplane, RedisBackplane};
use sigver::protocol::MemberId;
use sigver::{ClusterConfig, SignalingHub};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// The time to reach Redis. A real server keeps trying, and its load balancer sends it no peers until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let memory = MemoryBackplane::new();
    let url = std::env::args().nth(1);
    let config = || {
        Ok::<_, Box<dyn Error>>(match &url {
            // All servers with the same Redis and the same name are one hub.
            Some(url) => ClusterConfig::new(RedisBackplane::builder(url, "example").build()?),
            None => ClusterConfig::new(memory.connect()),
        })
    };
    let (first_hub, first) = start_server(config()?).await?;
    let (second_hub, second) = start_server(config()?).await?;
    for hub in [&first_hub, &second_hub] {
        timeout(READY_TIMEOUT, wait_for_two_nodes(hub)).await.map_err(|_| "Redis is unreachable")?;
    }
    println!("Listening on http://{first} and http://{second}");

    let [alice_id, bob_id] = [MemberId(0xa11c_e000), MemberId(0xb0b0_0000)];
    let mut alice = client::join(&format!("ws://{first}/signal"), "room").await?;
    let mut bob = client::join(&format!("ws://{second}/signal"), "room").await?;
    assert!(alice.connect(alice_id, &[]).await?, "the first peer is a member");
    assert!(!bob.connect(bob_id, &[]).await?, "the second peer is bound to her, although she is on the other server");
    bob.send_content(Remote::Member, "offer").await?;
    let Event::Content { from, data, .. } = alice.recv().await? else { panic!("expected an offer") };
    assert_eq!(data, "offer");
    alice.send_content(from, "answer").await?;
    let Event::Content { data, .. } = bob.recv().await? else { panic!("expected an answer") };
    assert_eq!(data, "answer");
    // Browsers would now have a data channel. Bob names Alice, because he is directly connected to her.
    assert!(bob.connect(bob_id, &[alice_id]).await?, "a peer that names a member becomes a member");

    // Each server counts its own peers.
    assert_eq!((first_hub.stats().peers, second_hub.stats().peers), (1, 1));
    println!("Alice and Bob have exchanged an offer and an answer. {:?}", first_hub.cluster_stats());
    alice.close().await;
    bob.close().await;
    // A drain also removes the members from Redis. A server calls it before it exits.
    for hub in [first_hub, second_hub] {
        assert_eq!(hub.drain(Duration::from_secs(5)).await, 0, "all peers have disconnected");
    }
    Ok(())
}

/// Starts a server on a free port, with signaling at `/signal/KEY` and a health check at `/ready`.
async fn start_server(config: ClusterConfig) -> Result<(SignalingHub, SocketAddr), Box<dyn Error>> {
    let (hub, driver) = SignalingHub::builder().build_cluster(config)?;
    // The driver connects the hub to the others. It must run until the drain has ended.
    tokio::spawn(driver);
    let ready = {
        let hub = hub.clone();
        async move || if hub.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    };
    let app = Router::new().route("/ready", get(ready)).nest_service("/signal", sigver::axum::router(hub.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    // `examples/axum.rs` shows the shutdown of a server.
    tokio::spawn(axum::serve(listener, service).into_future());
    Ok((hub, address))
}

/// Waits until a server knows that two are alive, itself included. It learns that with each beat, every 2 s.
async fn wait_for_two_nodes(hub: &SignalingHub) {
    while hub.cluster_stats().is_none_or(|stats| stats.nodes < 2) {
        sleep(Duration::from_millis(50)).await;
    }
}
