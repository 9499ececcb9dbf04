//! What an operator reads about the engine and the other nodes.

use async_trait::async_trait;
use bytes::Bytes;
use sigver::cluster::{Backplane, BackplaneError, Beat, GroupTag, MemberList, MemoryBackplane, NodeId, Outage, Step};
use sigver::{ClusterConfig, SignalingHub};
use tokio::time::sleep;
use tracing::Level;

use crate::cluster::{Cluster, SECOND, assert_linked, settle};
use crate::log::Log;

/// An engine whose configuration has a fault.
struct Misconfigured(MemoryBackplane);

#[async_trait]
impl Backplane for Misconfigured {
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError> {
        self.0.step(group, step).await
    }

    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError> {
        self.0.send(to, batch).await
    }

    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError> {
        self.0.recv(me).await
    }

    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError> {
        self.0.beat(me, silent).await
    }

    async fn check(&self) -> Result<Vec<String>, BackplaneError> {
        // Fails as long as the engine is unreachable.
        self.0.beat(NodeId(0), &[]).await.map(|_| vec!["maxmemory-policy is allkeys-lru".to_owned()])
    }
}

#[tokio::test(start_paused = true)]
async fn configuration_of_the_engine_is_checked_once_it_is_reachable() {
    let log = Log::capture();
    let engine = MemoryBackplane::new();
    engine.outage(Outage::Lose);
    let config = ClusterConfig::new(Misconfigured(engine.connect()));
    let (_hub, driver) = SignalingHub::builder().build_cluster(config).expect("valid settings");
    tokio::spawn(driver);
    sleep(25 * SECOND).await;
    let unreachable = log.take();
    assert_eq!(unreachable.len(), 3, "one line every 10 s: {unreachable:?}");
    assert!(unreachable.iter().all(|line| line.contains("is unreachable")), "{unreachable:?}");
    engine.restore();
    sleep(60 * SECOND).await;
    let expected =
        "WARN the engine of the cluster is not configured as it should be finding=\"maxmemory-policy is allkeys-lru\"";
    assert_eq!(log.take(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn node_logs_once_that_it_is_connected_to_the_cluster() {
    let log = Log::capture_at(Level::INFO);
    let mut cluster = Cluster::start(1).await;
    sleep(60 * SECOND).await;
    let connected = |cluster: &Cluster, node, nodes| {
        format!("INFO connected to the cluster node={} nodes={nodes}", cluster.tap(node).node().0)
    };
    assert_eq!(log.take(), [connected(&cluster, 0, 1)]);
    cluster.add(|hub, cluster| (hub, cluster));
    sleep(60 * SECOND).await;
    assert_eq!(log.take(), [connected(&cluster, 1, 2)]);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn start_and_end_of_each_outage_are_logged_with_its_length() {
    let cluster = Cluster::start(1).await;
    sleep(SECOND).await;
    let log = Log::capture_at(Level::INFO);
    for _ in 0..2 {
        cluster.engine.outage(Outage::Lose);
        sleep(14 * SECOND).await;
        cluster.engine.restore();
        sleep(2 * SECOND).await;
        let lines = log.take();
        let [start, later, end] = &lines[..] else { panic!("{lines:?}") };
        for (line, seconds) in [(start, 0), (later, 10)] {
            assert!(line.starts_with("WARN the engine of the cluster is unreachable error="), "{line}");
            assert!(line.ends_with(&format!(" seconds={seconds}")), "{line}");
        }
        // The first call that failed had no reply for 500 ms.
        assert_eq!(end, "INFO the engine of the cluster is reachable again seconds=13");
    }
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn number_of_lost_records_is_logged() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    let log = Log::capture_at(Level::INFO);
    assert_linked(&joiner, &member).await;
    assert_eq!(log.take(), [""; 0]);
    cluster.tap(1).lose_sends(true);
    joiner.send_content(0, "lost");
    settle().await;
    joiner.send_content(0, "lost, too");
    settle().await;
    cluster.tap(1).lose_sends(false);
    sleep(2 * SECOND).await;
    let node = cluster.tap(1).node().0;
    assert_eq!(log.take(), [format!("INFO records of a node were lost; its links end node={node} missed=2")]);
    drop((member, joiner));
    cluster.finish().await;
}
