//! The name of a hub in spans and log lines. `tests/metrics.rs` tests the label of metrics.

#[expect(dead_code, reason = "these tests capture lines below the level `warn`")]
#[path = "common/log.rs"]
mod log;

use log::Log;
use sigver::{JoinRequest, PeerInfo, Rejection, SignalingHub, memory};
use tracing::Level;

/// Runs a peer that joins, connects and leaves, and one that the hub rejects because `max_peers` is 1.
async fn run_peers(hub: &SignalingHub) {
    let mut peer = memory::join(hub, "K");
    assert!(peer.connect(1, &[]).await);
    assert_eq!(memory::join(hub, "K").recv_close().await.code, 1013);
    peer.close().await;
    hub.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn every_line_of_a_hub_with_a_name_has_the_field_hub() {
    let log = Log::capture_at(Level::DEBUG);
    let admission = |request: JoinRequest| async move {
        match request.key().as_str() {
            "fails" => Err(Rejection::internal(std::io::Error::other("the database is unreachable"))),
            _ => Ok(PeerInfo::new()),
        }
    };
    let hub = SignalingHub::builder().name("lobby").max_peers(1).admission(admission).build().expect("valid settings");
    assert_eq!(memory::join(&hub, "fails").recv_close().await.code, 1011);
    run_peers(&hub).await;
    let lines = log.take();
    for message in ["peer joined", "connect answered", "peer left", "connection closed", "rejected", "admission failed"]
    {
        assert!(lines.iter().any(|line| line.contains(message)), "no {message:?} in {lines:#?}");
    }
    let (hub_field, in_span) = ("hub=\"lobby\"", "in hub \"lobby\"");
    let unnamed = lines.iter().filter(|line| !line.contains(hub_field) && !line.contains(in_span));
    assert_eq!(unnamed.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn no_line_of_a_hub_without_a_name_has_the_field_hub() {
    let log = Log::capture_at(Level::TRACE);
    let hub = SignalingHub::builder().max_peers(1).build().expect("valid settings");
    run_peers(&hub).await;
    let lines = log.take();
    assert!(
        lines.len() >= 5 && !lines.iter().any(|line| line.contains("hub=") || line.contains("in hub")),
        "{lines:#?}"
    );
}

#[cfg(feature = "cluster")]
#[tokio::test(start_paused = true)]
async fn lines_of_the_driver_are_in_a_span_with_the_name_of_the_hub() {
    use sigver::ClusterConfig;
    use sigver::cluster::MemoryBackplane;

    let log = Log::capture_at(Level::INFO);
    for name in [Some("lobby"), None] {
        let mut builder = SignalingHub::builder();
        if let Some(name) = name {
            builder = builder.name(name);
        }
        let config = ClusterConfig::new(MemoryBackplane::new().connect());
        let (hub, driver) = builder.build_cluster(config).expect("valid settings");
        tokio::spawn(driver);
        assert!(memory::join(&hub, "K").connect(1, &[]).await);
        let lines = log.take();
        let suffix = if name.is_some() { " in hub \"lobby\"" } else { " nodes=1" };
        let expected = |line: &String| line.starts_with("INFO connected to the cluster") && line.ends_with(suffix);
        assert!(matches!(&*lines, [line] if expected(line)), "{lines:?}");
    }
}
