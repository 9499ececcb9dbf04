//! Order, limits and closes across nodes, and peers whose futures are dropped.

use sigver::cluster::{Outage, StepFault};
use sigver::memory::{TestClient, pair};
use sigver::{Cause, CloseCode, DisconnectReason};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, SECOND, UNANSWERED, assert_linked, millis, settle};

#[tokio::test(start_paused = true)]
async fn frames_after_a_connect_are_applied_after_its_answer_and_in_order() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.join(1);
    for _ in 0..2 {
        cluster.tap(1).engine.fault_next_step(StepFault::DelayReply(millis(300)));
    }
    joiner.send_connect(2, &[]);
    joiner.send_content(0, "a");
    joiner.send_content(0, "b");
    joiner.send_connect(2, &[1]);
    joiner.send_content(0, "c");
    settle().await;
    assert!(joiner.take().is_empty() && member.take().is_empty());
    sleep(millis(300)).await;
    assert_eq!(joiner.take(), ["false"]);
    assert_eq!(member.take(), ["joiner: a", "joiner: b"], "the second connect waits");
    sleep(millis(300)).await;
    assert_eq!(joiner.take(), ["true"]);
    assert_eq!(member.take(), ["joiner: c"]);
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn invalid_message_after_a_connect_closes_the_peer_after_the_answer() {
    let cluster = Cluster::start(1).await;
    let peer = cluster.join(0);
    cluster.tap(0).engine.fault_next_step(StepFault::DelayReply(millis(300)));
    peer.send_connect(1, &[]);
    peer.send_frame(sigver::Frame::Text("text".to_owned()));
    sleep(SECOND).await;
    assert_eq!(peer.take(), ["true", "close 4743: text message; must be binary"]);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn connects_of_one_peer_above_20_per_second_wait_and_are_not_rejected() {
    let cluster = Cluster::start(2).await;
    let members = [cluster.member(0, 1, &[]).await, cluster.member(0, 2, &[1]).await];
    let joiner = cluster.join(1);
    for _ in 0..60 {
        joiner.send_connect(9, &[]);
    }
    let start = Instant::now();
    settle().await;
    assert_eq!(joiner.take().len(), 20, "the burst");
    let other = cluster.joiner(1, 8).await;
    sleep(SECOND).await;
    let answered = joiner.take().len();
    assert!((19..=21).contains(&answered), "{answered} in one second");
    sleep(SECOND).await;
    assert_eq!(joiner.take().len(), 40 - answered, "{:?}", start.elapsed());
    joiner.send_content(0, "after the connects");
    sleep(SECOND).await;
    let received = members.iter().map(|member| member.take().len()).sum::<usize>();
    assert_eq!(received, 1);
    drop((members, joiner, other));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn peers_whose_future_is_dropped_while_a_connect_waits_leave_nothing() {
    for fault in [StepFault::LoseRequest, StepFault::DelayReply(millis(400)), StepFault::DelayRequest(millis(400))] {
        let cluster = Cluster::start(2).await;
        let peer = cluster.join(0);
        cluster.tap(0).engine.fault_next_step(fault);
        peer.send_connect(1, &[]);
        sleep(millis(100)).await;
        assert_eq!(cluster.nodes[0].hub.stats().peers, 1);
        peer.served.abort();
        settle().await;
        assert_eq!(cluster.nodes[0].hub.stats().peers, 0);
        assert_eq!(peer.take(), ["lost"]);
        sleep(2 * SECOND).await;
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn connect_without_an_answer_within_its_timeout_closes_the_peer_with_1013() {
    let cluster = Cluster::with(1, |hub, cluster| (hub, cluster.connect_answer_timeout(3 * SECOND))).await;
    cluster.engine.outage(Outage::Lose);
    let peer = cluster.join(0);
    peer.send_connect(1, &[]);
    sleep(millis(2990)).await;
    assert!(peer.take().is_empty());
    sleep(millis(20)).await;
    assert_eq!(peer.take(), [UNANSWERED.replace("15s", "3s")]);
    let reason = peer.served.await.expect("no panic");
    assert_eq!(reason.cause(), Some(Cause::ConnectAnswerTimeout));
    cluster.engine.restore();
    sleep(3 * SECOND).await;
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn member_above_max_members_per_group_is_closed_with_1013() {
    let cluster = Cluster::with(2, |hub, cluster| (hub, cluster.max_members_per_group(2))).await;
    let members = [cluster.member(0, 1, &[]).await, cluster.member(1, 2, &[1]).await];
    let third = cluster.joiner(1, 3).await;
    assert_linked(&third, &members[0]).await;
    third.send_connect(3, &[1]);
    settle().await;
    assert_eq!(third.take(), ["close 1013: member limit of the group reached (2)"]);
    let reason = third.served.await.expect("no panic");
    assert_eq!(reason.cause(), Some(Cause::MaxMembersPerGroup));
    assert_eq!(members[0].take(), ["joiner: end"]);
    assert!(members[1].connect(22, &[1]).await, "a member stays one");
    drop(members);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_group_closes_the_peers_of_all_nodes_and_of_no_other_group() {
    const ENDED: CloseCode = CloseCode::app(4001);
    let cluster = Cluster::start(3).await;
    let peers = [cluster.member(0, 1, &[]).await, cluster.member(1, 2, &[1]).await, cluster.joiner(2, 3).await];
    let not_connected = cluster.join(1);
    let other = cluster.join_as(1, "another key");
    assert!(other.connect(1, &[]).await);
    assert_eq!(cluster.nodes[0].hub.close_group("K", ENDED), 1, "the peers of this node");
    settle().await;
    for peer in peers.iter().chain([&not_connected]) {
        assert_eq!(peer.take().last().map(String::as_str), Some("close 4001: closed by the app"));
    }
    assert!(other.take().is_empty());
    // A hub without a peer in the group closes it as well.
    assert_eq!(cluster.nodes[2].hub.close_group("another key", ENDED), 0);
    settle().await;
    assert_eq!(other.take(), ["close 4001: closed by the app"]);
    drop((peers, not_connected, other));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn joiner_that_fills_the_outbox_of_a_member_on_another_node_is_closed_and_the_member_stays() {
    let cluster = Cluster::start(2).await;
    let (there, here) = pair(0);
    let served = tokio::spawn(cluster.nodes[0].hub.serve(there, "K"));
    let mut member = TestClient::new(here);
    assert!(member.connect(1, &[]).await);
    let [flooder, other] = [cluster.joiner(1, 2).await, cluster.joiner(1, 3).await];
    for _ in 0..20 {
        flooder.send_content(0, vec![b'x'; 30_000]);
    }
    settle().await;
    let reason = "close 1008: outbox of a receiver is over 262144 bytes, mostly from this peer; must send more slowly";
    assert_eq!(flooder.take(), [reason]);
    let left = flooder.disconnect().await.expect("no panic");
    assert_eq!(left.cause(), Some(Cause::MaxOutboxBytes));
    other.send_content(0, "offer");
    settle().await;
    let mut ended = false;
    loop {
        match member.recv_content().await.1 {
            data if data == "offer" => break,
            data => ended |= data.is_empty(),
        }
    }
    assert!(ended, "the member learns that the link has ended");
    assert!(!served.is_finished());
    drop((member, other));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn counts_of_a_hub_are_those_of_its_own_peers() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    assert_linked(&joiner, &member).await;
    for (node, peer) in [(0, &member), (1, &joiner)] {
        let hub = &cluster.nodes[node].hub;
        let stats = hub.stats();
        assert_eq!((stats.peers, stats.groups, stats.relayed_messages), (1, 1, 1), "node {node}");
        let group = hub.groups().remove(0);
        assert_eq!((group.peers, group.members, group.links), (1, 1 - node, 1));
        let snapshot = hub.peers("K").remove(0);
        assert_eq!((snapshot.is_bound, snapshot.joiners), (node == 1, 1 - node));
        assert!(peer.take().is_empty());
    }
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn peer_that_disconnects_while_its_connect_waits_is_removed_after_the_answer() {
    let cluster = Cluster::start(2).await;
    let peer = cluster.join(0);
    cluster.tap(0).engine.fault_next_step(StepFault::DelayReply(millis(400)));
    peer.send_connect(1, &[]);
    settle().await;
    let served = peer.disconnect();
    sleep(SECOND).await;
    let reason = served.await.expect("no panic");
    assert!(matches!(reason, DisconnectReason::ClosedByPeer { .. }), "{reason}");
    cluster.finish().await;
}
