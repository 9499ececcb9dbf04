//! The driver of a hub, the settings of a cluster, and a cluster of one node.

use std::time::Duration;

use sigver::client::Event;
use sigver::cluster::{Faults, MemoryBackplane, Outage, StepFault};
use sigver::{ClusterConfig, SignalingHub, memory};
use tokio::time::{sleep, timeout};

use crate::cluster::{Cluster, SECOND, UNANSWERED, assert_linked, settle};

#[tokio::test(start_paused = true)]
async fn hub_whose_driver_was_dropped_is_not_ready_and_keeps_its_own_links() {
    let cluster = Cluster::start(2).await;
    let hub = &cluster.nodes[0].hub;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(0, 2).await;
    let remote = cluster.joiner(1, 3).await;
    assert!(hub.is_ready());
    let leaving = cluster.join_as(0, "another key");
    assert!(leaving.connect(5, &[]).await);
    cluster.tap(0).engine.cut(Outage::Hang);
    drop(leaving);
    settle().await;
    assert_eq!(hub.stats().groups, 2, "the engine does not know that the peer has left");
    cluster.nodes[0].driver.abort();
    settle().await;
    assert_eq!(hub.stats().groups, 1);
    assert!(!hub.is_ready());
    assert!(cluster.nodes[1].hub.is_ready());
    assert_linked(&joiner, &member).await;
    let waiting = cluster.join(0);
    waiting.send_connect(4, &[]);
    settle().await;
    sleep(14 * SECOND).await;
    assert!(waiting.take().is_empty());
    assert_eq!(remote.take(), ["member: end"], "the other node takes this one for dead");
    sleep(SECOND).await;
    settle().await;
    assert_eq!(waiting.take(), [UNANSWERED]);
    assert_linked(&joiner, &member).await;
    drop((member, joiner, remote, waiting));
    sleep(SECOND).await;
    let stats = hub.stats();
    assert_eq!((stats.peers, stats.links, stats.groups), (0, 0, 0), "nothing waits for a driver that is gone");
}

#[tokio::test(start_paused = true)]
async fn driver_completes_after_the_last_handle_was_dropped_and_the_last_peer_was_served() {
    let mut cluster = Cluster::start(1).await;
    let member = cluster.member(0, 1, &[]).await;
    let mut node = cluster.nodes.remove(0);
    let clone = node.hub.clone();
    drop(node.hub);
    assert!(timeout(10 * SECOND, &mut node.driver).await.is_err(), "a clone is left");
    drop(clone);
    assert!(timeout(10 * SECOND, &mut node.driver).await.is_err(), "a peer is left");
    drop(member);
    timeout(3 * SECOND, node.driver).await.expect("the driver completes").expect("no panic");
    assert_eq!(cluster.engine.list_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn driver_completes_only_after_the_other_nodes_know_that_the_peers_have_left() {
    let mut cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    assert_linked(&joiner, &member).await;
    let mut node = cluster.nodes.remove(0);
    drop(node.hub);
    node.tap.state().fails_sends = true;
    drop(member);
    assert!(timeout(5 * SECOND, &mut node.driver).await.is_err(), "the end of the link was not sent");
    node.tap.state().fails_sends = false;
    timeout(5 * SECOND, node.driver).await.expect("the driver completes").expect("no panic");
    assert_eq!(joiner.take(), ["member: end"]);
    drop(joiner);
    cluster.finish().await;
}

fn error_of(change: impl FnOnce(ClusterConfig) -> ClusterConfig) -> String {
    let config = change(ClusterConfig::new(MemoryBackplane::new()));
    SignalingHub::builder().build_cluster(config).expect_err("an invalid setting").to_string()
}

#[tokio::test]
async fn each_invalid_setting_of_a_cluster_is_an_error_that_names_it() {
    const HOUR: Duration = Duration::from_secs(3600);
    let zero = Duration::ZERO;
    let errors = [
        (
            error_of(|config| config.connect_answer_timeout(zero)),
            "connect_answer_timeout is 0ns; must be greater than 0 and at most one hour",
        ),
        (
            error_of(|config| config.connect_answer_timeout(HOUR + SECOND)),
            "connect_answer_timeout is 3601s; must be greater than 0 and at most one hour",
        ),
        (
            error_of(|config| config.beat_interval(zero)),
            "beat_interval is 0ns; must be greater than 0 and at most one minute",
        ),
        (
            error_of(|config| config.beat_interval(61 * SECOND)),
            "beat_interval is 61s; must be greater than 0 and at most one minute",
        ),
        (
            error_of(|config| config.node_timeout(7 * SECOND)),
            "node_timeout is 7s; must be at least 4 * beat_interval and at most one hour",
        ),
        (
            error_of(|config| config.node_timeout(HOUR + SECOND)),
            "node_timeout is 3601s; must be at least 4 * beat_interval and at most one hour",
        ),
        (
            error_of(|config| config.audit_interval(zero)),
            "audit_interval is 0ns; must be greater than 0 and at most one hour",
        ),
        (
            error_of(|config| config.audit_interval(HOUR + SECOND)),
            "audit_interval is 3601s; must be greater than 0 and at most one hour",
        ),
        (error_of(|config| config.max_members_per_group(0)), "max_members_per_group is 0; must be at least 1"),
        (
            error_of(|config| config.max_outbox_bytes_per_node(66_559)),
            "max_outbox_bytes_per_node is 66559; must be at least max_message_bytes + 1024 and at most 134217728",
        ),
        (
            error_of(|config| config.max_outbox_bytes_per_node(134_217_729)),
            "max_outbox_bytes_per_node is 134217729; must be at least max_message_bytes + 1024 and at most 134217728",
        ),
    ];
    for (error, expected) in errors {
        assert_eq!(error, expected);
    }
    let limits = ClusterConfig::new(MemoryBackplane::new())
        .connect_answer_timeout(HOUR)
        .beat_interval(SECOND)
        .node_timeout(4 * SECOND)
        .audit_interval(HOUR)
        .max_members_per_group(1)
        .max_outbox_bytes_per_node(66_560);
    assert!(SignalingHub::builder().build_cluster(limits).is_ok());
    let limits = ClusterConfig::new(MemoryBackplane::new())
        .beat_interval(60 * SECOND)
        .node_timeout(HOUR)
        .max_outbox_bytes_per_node(134_217_728);
    assert!(SignalingHub::builder().build_cluster(limits).is_ok());
}

#[tokio::test(start_paused = true)]
async fn drain_waits_until_the_engine_has_removed_the_members() {
    let cluster = Cluster::start(1).await;
    let member = cluster.member(0, 1, &[]).await;
    cluster.tap(0).engine.fault_next_step(StepFault::DelayRequest(Duration::from_millis(300)));
    cluster.nodes[0].hub.drain(5 * SECOND).await;
    assert_eq!(cluster.engine.list_count(), 0);
    drop(member);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn drain_waits_until_other_nodes_know_that_links_have_ended() {
    let delay = Duration::from_millis(300);
    let engine = MemoryBackplane::with_faults(Faults::default().request_delay(delay..=delay));
    let start = || {
        let config = ClusterConfig::new(engine.connect());
        let (hub, driver) = SignalingHub::builder().build_cluster(config).expect("valid settings");
        (hub, tokio::spawn(driver))
    };
    let [(a, _driver), (b, driver)] = [start(), start()];
    let [mut member, mut joiner] = [memory::join(&a, "K"), memory::join(&b, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    // While its batch is in flight, the end of the link waits.
    joiner.send_content(0, "offer").await;
    sleep(Duration::from_millis(10)).await;
    let closed = async move { assert_eq!(joiner.recv_close().await.code, 1001) };
    tokio::join!(b.drain(5 * SECOND), closed);
    // As the end of the process does.
    driver.abort();
    member.recv_content().await;
    let ended = timeout(SECOND, member.recv()).await;
    assert!(matches!(ended, Ok(Ok(Event::Ended { .. }))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn drain_ends_as_soon_as_no_record_waits_any_more() {
    for end in ["sent", "the receiver has died", "this node was declared dead", "the driver has ended"] {
        let mut cluster = Cluster::start(2).await;
        let member = cluster.member(0, 1, &[]).await;
        let joiner = cluster.joiner(1, 2).await;
        cluster.tap(1).state().fails_sends = true;
        joiner.send_content(0, "offer");
        drop(joiner);
        settle().await;
        let hub = cluster.nodes[1].hub.clone();
        let drain = tokio::spawn(async move { hub.drain(60 * SECOND).await });
        cluster.tap(1).state().fails_beats = end == "this node was declared dead";
        if end == "the receiver has died" {
            cluster.crash(0, [member]).await;
        } else {
            sleep(14 * SECOND).await;
        }
        assert!(!drain.is_finished(), "{end}: the record waits");
        let node = cluster.nodes.last().expect("a node");
        node.tap.state().fails_beats = false;
        node.tap.state().fails_sends = end != "sent";
        if end == "the driver has ended" {
            node.driver.abort();
        }
        let drain = timeout(17 * SECOND, drain).await.unwrap_or_else(|_| panic!("{end}: the drain continues"));
        assert_eq!(drain.expect("a drain does not panic"), 0, "{end}");
    }
}

#[tokio::test]
async fn debug_shows_the_settings_of_a_cluster_and_not_its_backplane() {
    let config = ClusterConfig::new(MemoryBackplane::new());
    let expected = "ClusterConfig { connect_answer_timeout: 15s, beat_interval: 2s, node_timeout: 10s, \
                    audit_interval: 900s, max_members_per_group: 1000, max_outbox_bytes_per_node: 4194304, .. }";
    assert_eq!(format!("{config:?}"), expected);
    let (_hub, driver) = SignalingHub::builder().build_cluster(config).expect("valid settings");
    assert_eq!(format!("{driver:?}"), "ClusterDriver { .. }");
}

#[tokio::test(start_paused = true)]
async fn at_most_1024_steps_are_in_flight_and_the_other_groups_wait() {
    let cluster = Cluster::with(1, |hub, cluster| (hub.max_peers(2000), cluster)).await;
    cluster.engine.outage(Outage::Hang);
    let peers: Vec<_> = (0..1030).map(|key| cluster.join_as(0, key.to_string().as_str())).collect();
    peers.iter().for_each(|peer| peer.send_connect(1, &[]));
    settle().await;
    assert_eq!(cluster.tap(0).state().steps, 1024);
    assert_eq!(cluster.nodes[0].hub.cluster_stats().expect("a cluster").steps_waiting, 1030);
    cluster.engine.restore();
    settle().await;
    assert_eq!(cluster.tap(0).state().steps, 1030);
    assert!(peers.iter().all(|peer| peer.take() == ["true"]));
    drop(peers);
    cluster.finish().await;
}
