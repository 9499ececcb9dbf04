//! The counters of a hub that is a node of a cluster.

#![cfg(feature = "cluster")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sigver::client::Event;
use sigver::cluster::{
    Backplane, BackplaneError, Beat, GroupTag, MemberList, MemoryBackplane, NodeId, Outage, Step, StepFault,
};
use sigver::memory::TestClient;
use sigver::{ClusterConfig, ClusterStats, SignalingHub, Transport, memory};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Starts a node, and waits for its first beat.
async fn start(backplane: impl Backplane) -> (SignalingHub, JoinHandle<()>) {
    start_with(ClusterConfig::new(backplane)).await
}

async fn start_with(config: ClusterConfig) -> (SignalingHub, JoinHandle<()>) {
    let (hub, driver) = SignalingHub::builder().build_cluster(config).expect("valid settings");
    let driver = tokio::spawn(driver);
    sleep(Duration::from_millis(10)).await;
    assert!(hub.is_ready());
    (hub, driver)
}

/// Answers the heartbeats of a peer, so that it stays connected.
fn keep<T: Transport + Unpin + Send + 'static>(mut peer: TestClient<T>) {
    tokio::spawn(async move {
        while matches!(peer.recv_any().await, Ok(Event::Heartbeat)) {
            peer.send_heartbeat().await;
        }
    });
}

fn stats(hub: &SignalingHub) -> ClusterStats {
    hub.cluster_stats().expect("the hub is in a cluster")
}

/// Waits until the counters of a hub have a property.
async fn wait_for(hub: &SignalingHub, property: impl Fn(&ClusterStats) -> bool) -> ClusterStats {
    let start = Instant::now();
    while !property(&stats(hub)) {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", stats(hub));
        sleep(Duration::from_millis(100)).await;
    }
    stats(hub)
}

#[tokio::test(start_paused = true)]
async fn hub_without_a_cluster_has_no_cluster_stats() {
    assert_eq!(SignalingHub::new().cluster_stats(), None);
}

#[tokio::test(start_paused = true)]
async fn stats_show_nodes_beats_steps_and_records() {
    let engine = MemoryBackplane::new();
    let (a, _) = SignalingHub::builder().build_cluster(ClusterConfig::new(engine.connect())).expect("valid settings");
    let before = stats(&a);
    assert_eq!((before.nodes, before.beat_age), (0, None), "no driver runs");

    let (a, _driver) = start(engine.connect()).await;
    let (b, driver) = start(engine.connect()).await;
    wait_for(&a, |stats| stats.nodes == 2).await;
    assert!(stats(&a).beat_age < Some(Duration::from_secs(2)), "{:?}", stats(&a));

    let [mut alice, mut bob] = [memory::join(&a, "K"), memory::join(&b, "K")];
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await);
    bob.send_content(0, "offer").await;
    assert_eq!(alice.recv_content().await.1, "offer");
    assert_eq!((stats(&a).steps_applied, stats(&a).steps_condition_failed), (1, 0));
    assert_eq!((stats(&b).steps_applied, stats(&b).steps_condition_failed), (0, 1), "Bob saw an empty list before");
    let [sent, received] = [wait_for(&b, |stats| stats.records_sent == 2).await, stats(&a)];
    assert_eq!((sent.records_received, received.records_sent), (0, 0));
    assert_eq!(received.records_received, 2, "a BIND and a DATA");
    assert_eq!((sent.gaps, sent.resets, sent.steps_unknown, sent.steps_waiting), (0, 0, 0, 0), "{sent:?}");

    driver.abort();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stats(&b).nodes, 0, "the driver has ended");
    assert!(stats(&b).beat_age > Some(Duration::from_secs(2)), "{:?}", stats(&b));
    // Node A declares node B dead after 10 s.
    wait_for(&a, |stats| stats.nodes == 1).await;
}

#[tokio::test(start_paused = true)]
async fn steps_are_counted_by_outcome() {
    let engine = MemoryBackplane::new();
    let config = |engine: &MemoryBackplane| ClusterConfig::new(engine.clone()).max_members_per_group(1);
    let (a, _driver) = start_with(config(&engine)).await;
    let second = engine.connect();
    let (b, _driver) = start_with(config(&second)).await;

    engine.fault_next_step(StepFault::LoseReply);
    let mut alice = memory::join(&a, "K");
    assert!(alice.connect(1, &[]).await);
    assert_eq!((stats(&a).steps_unknown, stats(&a).steps_applied), (1, 1), "a look resolves the lost reply");

    let mut bob = memory::join(&b, "K");
    bob.send_connect(2, &[1]).await;
    assert_eq!(bob.recv_close().await.code, 1013);
    assert_eq!(stats(&b).steps_full, 1);

    let failed = stats(&b).steps_condition_failed;
    // Both decide on an empty list.
    second.fault_next_step(StepFault::DelayRequest(Duration::from_millis(100)));
    let [mut carol, mut dave] = [memory::join(&a, "L"), memory::join(&b, "L")];
    let (first, second) = tokio::join!(carol.connect(3, &[]), dave.connect(4, &[]));
    assert_eq!((first, second, stats(&b).steps_condition_failed), (true, false, failed + 1));
}

#[tokio::test(start_paused = true)]
async fn steps_wait_while_the_engine_is_unreachable() {
    let engine = MemoryBackplane::new();
    let (hub, _driver) = start(engine.clone()).await;
    engine.outage(Outage::Hang);
    sleep(Duration::from_secs(11)).await;
    // A node without a beat for `node_timeout` sends no step.
    let mut peers = ["K", "L", "M", "M"].map(|key| memory::join(&hub, key));
    for peer in &mut peers {
        peer.send_connect(1, &[]).await;
    }
    sleep(Duration::from_secs(4)).await;
    assert_eq!(stats(&hub).steps_waiting, 3, "one for each group");
    engine.restore();
    wait_for(&hub, |stats| stats.steps_waiting == 0).await;
}

#[tokio::test(start_paused = true)]
async fn step_that_puts_a_lost_member_back_counts_as_a_repair() {
    let engine = MemoryBackplane::new();
    let (hub, _driver) = start(engine.clone()).await;
    let mut alice = memory::join(&hub, "K");
    assert!(alice.connect(1, &[]).await);
    keep(alice);
    engine.wipe();
    let repaired = wait_for(&hub, |stats| stats.repairs_put_back > 0).await;
    assert_eq!((repaired.repairs_put_back, engine.list_count()), (1, 1));
    // The audit of the next 15 minutes changes nothing.
    let applied = repaired.steps_applied;
    sleep(Duration::from_secs(31 * 60)).await;
    assert_eq!((stats(&hub).repairs_put_back, stats(&hub).repairs_removed), (1, 0));
    assert!(stats(&hub).steps_applied > applied, "there was an audit");
}

#[tokio::test(start_paused = true)]
async fn entries_of_dead_nodes_count_as_removed() {
    let engine = MemoryBackplane::new();
    let (a, _driver) = start(engine.connect()).await;
    let (b, driver) = start(engine.connect()).await;
    let [mut alice, mut bob] = [memory::join(&a, "K"), memory::join(&b, "K")];
    assert!(alice.connect(1, &[]).await);
    assert!(bob.connect(2, &[1]).await);
    keep(alice);
    keep(bob);
    // An audit shows Alice's node the entry of Bob.
    sleep(Duration::from_secs(16 * 60)).await;
    driver.abort();
    assert_eq!(wait_for(&a, |stats| stats.repairs_removed > 0).await.repairs_removed, 1);
}

#[tokio::test(start_paused = true)]
async fn members_of_a_list_that_was_founded_anew_count_as_closed() {
    let engine = MemoryBackplane::new();
    let first = engine.connect();
    let (a, _driver) = start(first.clone()).await;
    let (b, _driver) = start(engine.connect()).await;
    let [mut alice, mut bob] = [memory::join(&a, "K"), memory::join(&b, "K")];
    assert!(alice.connect(1, &[]).await);
    first.cut(Outage::Hang);
    engine.wipe();
    assert!(bob.connect(2, &[]).await, "the wiped engine has no member");
    first.heal();
    assert_eq!(alice.recv_close().await.code, 4744);
    assert_eq!((stats(&a).repairs_other_lineage, stats(&b).repairs_other_lineage), (1, 0));
}

/// Loses batches without an error while `loses` is set, as a failover does.
struct Lossy {
    engine: MemoryBackplane,
    loses: Arc<AtomicBool>,
}

#[async_trait]
impl Backplane for Lossy {
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError> {
        self.engine.step(group, step).await
    }

    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError> {
        match self.loses.load(Ordering::Relaxed) {
            true => Ok(()),
            false => self.engine.send(to, batch).await,
        }
    }

    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError> {
        self.engine.recv(me).await
    }

    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError> {
        self.engine.beat(me, silent).await
    }
}

#[tokio::test(start_paused = true)]
async fn lost_records_count_as_a_gap_of_the_receiver_and_a_reset_of_the_sender() {
    let engine = MemoryBackplane::new();
    let loses = Arc::<AtomicBool>::default();
    let (a, _driver) = start(engine.connect()).await;
    let (b, _driver) = start(Lossy { engine: engine.connect(), loses: loses.clone() }).await;
    let [mut alice, mut bob] = [memory::join(&a, "K"), memory::join(&b, "K")];
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await);
    bob.send_content(0, "offer").await;
    alice.recv_content().await;

    loses.store(true, Ordering::Relaxed);
    bob.send_content(0, "lost").await;
    sleep(Duration::from_millis(100)).await;
    loses.store(false, Ordering::Relaxed);
    let receiver = wait_for(&a, |stats| stats.gaps > 0).await;
    let sender = wait_for(&b, |stats| stats.resets > 0).await;
    assert_eq!((receiver.gaps, receiver.resets), (1, 0));
    assert_eq!((sender.gaps, sender.resets), (0, 1));
}
