//! Heartbeats: how often the hub sends them, and when it closes a peer that sends none.

use std::time::Duration;

use sigver::client::{ClientError, Event};
use sigver::{HubBuilder, SignalingHub};
use tokio::time::Instant;

use crate::server::{Adapter, Peer};

crate::on_every_configurable_adapter! {
    silent_peer_receives_two_heartbeats_then_4742
    content_does_not_count_as_heartbeat
    peer_that_sends_heartbeats_stays_connected
}

crate::on! {
    [
        memory: Memory, memory_node: MemoryNode, memory_cluster: MemoryCluster,
        standalone: Standalone, standalone_tls: StandaloneTls, standalone_cluster: StandaloneCluster
    ]
    default_heartbeat_interval_is_five_seconds
}

/// Sets the default interval in memory, where the clock is paused, and a short one over TCP.
fn builder(adapter: Adapter) -> HubBuilder {
    let interval = if adapter.has_paused_clock() { Duration::from_secs(5) } else { Duration::from_millis(150) };
    SignalingHub::builder().heartbeat_interval(interval)
}

/// Returns the number of heartbeats before the close, and the close code.
async fn heartbeats_until_close(peer: &mut Peer) -> (usize, u16) {
    let mut heartbeats = 0;
    loop {
        match peer.recv_any().await {
            Ok(Event::Heartbeat) => heartbeats += 1,
            Ok(Event::Connected { .. }) => {}
            Err(ClientError::Closed(Some(frame))) => return (heartbeats, frame.code),
            other => panic!("expected heartbeats and a close, but received {other:?}"),
        }
    }
}

async fn silent_peer_receives_two_heartbeats_then_4742(adapter: Adapter) {
    let server = adapter.start_with(builder(adapter)).await;
    assert_eq!(heartbeats_until_close(&mut server.open("K").await).await, (2, 4742));
}

async fn content_does_not_count_as_heartbeat(adapter: Adapter) {
    let server = adapter.start_with(builder(adapter)).await;
    let mut peer = server.open("K").await;
    for heartbeats in 0.. {
        match peer.recv_any().await {
            Ok(Event::Heartbeat) => {
                peer.send_content(0, "data").await;
                peer.send_connect(1, &[]).await;
                assert!(matches!(peer.recv_any().await, Ok(Event::Connected { member: true })));
            }
            Err(ClientError::Closed(Some(frame))) => {
                assert_eq!((heartbeats, frame.code), (2, 4742));
                break;
            }
            other => panic!("expected a heartbeat or a close, but received {other:?}"),
        }
    }
}

async fn peer_that_sends_heartbeats_stays_connected(adapter: Adapter) {
    let server = adapter.start_with(builder(adapter)).await;
    let mut peer = server.open("K").await;
    assert!(peer.connect(1, &[]).await);
    for _ in 0..10 {
        assert!(matches!(peer.recv_any().await, Ok(Event::Heartbeat)));
        peer.send_heartbeat().await;
    }
    assert_eq!(heartbeats_until_close(&mut peer).await, (2, 4742));
}

async fn default_heartbeat_interval_is_five_seconds(adapter: Adapter) {
    let server = adapter.start().await;
    let mut peer = server.open("K").await;
    let opened = Instant::now();
    let mut times = Vec::new();
    while let Ok(Event::Heartbeat) = peer.recv_any().await {
        times.push(opened.elapsed());
    }
    times.push(opened.elapsed());
    assert_eq!(times.len(), 3, "two heartbeats and the close");
    // The hub aligns heartbeats to 50 ms. Over TCP the machine may be busy.
    let tolerance = Duration::from_millis(if adapter.has_paused_clock() { 50 } else { 2000 });
    for (time, seconds) in times.iter().zip([5, 10, 15]) {
        assert!(time.abs_diff(Duration::from_secs(seconds)) <= tolerance, "{times:?}");
    }
}
