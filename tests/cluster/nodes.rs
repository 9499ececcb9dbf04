//! Nodes that crash, pause, leave, or are declared dead.

use sigver::cluster::StepFault;
use sigver::{Cause, CloseCode, DisconnectReason, HubEvent};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::{Cluster, EVICTED, SECOND, UNANSWERED, assert_linked, millis, settle};

/// The time within which joiners learn that the node of their member has crashed: `node_timeout` and two beats.
const CRASH_IS_KNOWN: std::time::Duration = std::time::Duration::from_secs(14);

const DRAINED: &str = "close 1001: server is going away";

#[tokio::test(start_paused = true)]
async fn joiners_of_a_crashed_node_receive_the_end_and_its_members_are_removed() {
    let mut cluster = Cluster::start(3).await;
    let member = cluster.member(0, 1, &[]).await;
    let other = cluster.member(1, 2, &[1]).await;
    let joiners = [cluster.joiner(1, 3).await, cluster.joiner(2, 4).await];
    let bound_elsewhere = cluster.joiner(2, 5).await;
    assert!(!bound_elsewhere.connect(5, &[]).await);
    assert_linked(&bound_elsewhere, &other).await;
    cluster.crash(0, [member]).await;
    sleep(8 * SECOND).await;
    assert!(joiners.iter().all(|joiner| joiner.take().is_empty()), "the node may only be slow");
    sleep(CRASH_IS_KNOWN - 8 * SECOND).await;
    for joiner in &joiners {
        assert_eq!(joiner.take(), ["member: end"]);
    }
    assert_linked(&bound_elsewhere, &other).await;
    // The member of the crashed node is in no list any more.
    let next = cluster.joiner(0, 6).await;
    assert_linked(&next, &other).await;
    drop((other, joiners, bound_elsewhere, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn member_of_a_crashed_node_is_removed_when_the_next_peer_connects() {
    let mut cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    cluster.crash(0, [member]).await;
    sleep(CRASH_IS_KNOWN).await;
    let next = cluster.join(0);
    next.send_connect(2, &[]);
    settle().await;
    assert_eq!(next.take(), ["true"], "the group has no member");
    drop(next);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn member_of_a_node_that_crashed_before_the_answer_is_removed() {
    let mut cluster = Cluster::start(2).await;
    let member = cluster.join(0);
    cluster.tap(0).engine.fault_next_step(StepFault::DelayReply(millis(400)));
    member.send_connect(1, &[]);
    settle().await;
    cluster.crash(0, [member]).await;
    assert_eq!(cluster.engine.list_count(), 1, "the engine has the member");
    let joiner = cluster.joiner(0, 2).await;
    sleep(CRASH_IS_KNOWN).await;
    assert_eq!(joiner.take(), ["member: end"]);
    assert!(joiner.connect(2, &[]).await);
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn node_that_paused_keeps_its_sockets_and_its_members_return() {
    let cluster = Cluster::start(2).await;
    let paused = cluster.member(0, 1, &[]).await;
    let other = cluster.member(1, 2, &[1]).await;
    let local = cluster.joiner(0, 3).await;
    assert_linked(&local, &paused).await;
    let remote = cluster.joiner(1, 4).await;
    assert_linked(&remote, &paused).await;
    let before = cluster.tap(0).node();

    cluster.nodes[0].switch.stop();
    sleep(30 * SECOND).await;
    assert_eq!(remote.take(), ["member: end"]);
    let joiner = cluster.joiner(1, 5).await;
    assert_linked(&joiner, &other).await;

    cluster.nodes[0].switch.resume();
    sleep(5 * SECOND).await;
    assert_ne!(cluster.tap(0).node(), before, "the node has a new incarnation");
    assert_eq!(paused.take(), ["joiner: end"], "the link to the other node has ended");
    assert_linked(&local, &paused).await;
    // At its earlier position, so before the other member.
    let next = cluster.joiner(1, 6).await;
    assert_linked(&next, &paused).await;
    drop((paused, other, local, remote, joiner, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn members_of_a_paused_node_found_their_group_again_if_it_is_absent() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    cluster.nodes[0].switch.stop();
    sleep(30 * SECOND).await;
    assert_eq!(joiner.take(), ["member: end"]);
    assert_eq!(cluster.engine.list_count(), 0, "its only member is on a dead node");
    cluster.nodes[0].switch.resume();
    sleep(5 * SECOND).await;
    assert_eq!(member.take(), ["joiner: end"]);
    let next = cluster.joiner(1, 3).await;
    assert_linked(&next, &member).await;
    drop((member, joiner, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn members_of_a_paused_node_are_closed_with_4744_if_their_group_was_founded_again() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    cluster.nodes[0].switch.stop();
    sleep(30 * SECOND).await;
    let founder = cluster.member(1, 2, &[]).await;
    cluster.nodes[0].switch.resume();
    sleep(5 * SECOND).await;
    assert_eq!(member.take(), [EVICTED]);
    let joiner = cluster.joiner(0, 3).await;
    assert_linked(&joiner, &founder).await;
    drop((founder, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn connect_that_waits_while_its_node_pauses_is_answered_or_closed() {
    for pause in [8, 30] {
        let cluster = Cluster::start(2).await;
        let member = cluster.member(1, 1, &[]).await;
        let peer = cluster.join(0);
        settle().await;
        cluster.tap(0).engine.fault_next_step(StepFault::DelayReply(millis(300)));
        peer.send_connect(2, &[1]);
        settle().await;
        cluster.nodes[0].switch.stop();
        sleep(pause * SECOND).await;
        cluster.nodes[0].switch.resume();
        sleep(5 * SECOND).await;
        // Its deadline and the reply have both passed after 30 s.
        let seen = peer.take();
        assert!(seen == ["true"] || (pause == 30 && seen == [UNANSWERED]), "{seen:?} after {pause} s");
        let is_member = cluster.join(1).connect(3, &[2]).await;
        assert_eq!(is_member, seen == ["true"], "after {pause} s");
        assert!(member.take().is_empty());
        drop((member, peer));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn node_evicts_no_member_before_it_learns_that_it_was_declared_dead() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(1, 1, &[]).await;
    let joiner = cluster.joiner(0, 2).await;
    assert_linked(&joiner, &member).await;
    cluster.tap(0).state().fails_beats = true;
    sleep(CRASH_IS_KNOWN).await;
    assert_eq!(member.take(), ["joiner: end"]);
    // The member did not accept the joiner.
    joiner.send_connect(2, &[]);
    sleep(8 * SECOND).await;
    assert_eq!(joiner.take(), [""; 0]);
    assert_eq!(member.take(), [""; 0]);
    cluster.tap(0).state().fails_beats = false;
    sleep(5 * SECOND).await;
    assert_eq!(joiner.take(), ["true", "member: end"]);
    assert_eq!(member.take(), [EVICTED], "one of the two is a member");
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn dead_node_stays_dead_after_the_engine_was_wiped() {
    let cluster = Cluster::start(2).await;
    let paused = cluster.member(0, 1, &[]).await;
    let other = cluster.member(1, 2, &[1]).await;
    let before = cluster.tap(0).node();
    cluster.nodes[0].switch.stop();
    sleep(20 * SECOND).await;
    cluster.engine.wipe();
    sleep(5 * SECOND).await;
    cluster.nodes[0].switch.resume();
    sleep(10 * SECOND).await;
    assert_ne!(cluster.tap(0).node(), before, "the node has a new incarnation");
    assert!([&paused, &other].iter().all(|peer| peer.take().is_empty()), "no socket was closed");
    // A node that the other one still takes for dead could not answer.
    let joiner = cluster.joiner(1, 3).await;
    assert_linked(&joiner, &paused).await;
    drop((paused, other, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn node_that_the_engine_does_not_know_is_declared_dead_when_a_list_names_it() {
    // Without the link, nothing but the list names the node.
    for is_linked in [true, false] {
        let mut cluster = Cluster::start(1).await;
        cluster.tap(0).state().fails_beats = true;
        cluster.engine.wipe();
        let member = cluster.member(0, 1, &[]).await;
        cluster.add(|hub, cluster| (hub, cluster));
        settle().await;
        let joiner = cluster.join(1);
        if is_linked {
            assert!(!joiner.connect(2, &[]).await);
            assert_linked(&joiner, &member).await;
        }
        cluster.crash(0, [member]).await;
        if !is_linked {
            assert!(!joiner.connect(2, &[]).await, "the list has the member");
        }
        sleep(CRASH_IS_KNOWN).await;
        assert_eq!(joiner.take(), ["member: end"]);
        assert!(joiner.connect(2, &[]).await, "the group has no member");
        drop(joiner);
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn drain_of_a_node_removes_its_members_and_ends_their_links() {
    let mut cluster = Cluster::start(2).await;
    let members = [cluster.member(0, 1, &[]).await, cluster.member(0, 2, &[1]).await];
    let other = cluster.member(1, 3, &[1]).await;
    let joiner = cluster.joiner(1, 4).await;
    assert_linked(&joiner, &members[0]).await;

    let node = cluster.nodes.remove(0);
    let hub = node.hub.clone();
    let drain = tokio::spawn(async move { hub.drain(11 * SECOND).await });
    settle().await;
    assert!(node.hub.is_draining() && !node.hub.is_ready());
    assert_eq!(members.iter().filter(|member| !member.take().is_empty()).count(), 1, "the closes are spread");
    assert_eq!(drain.await.expect("a drain does not panic"), 0);
    settle().await;
    assert_eq!(joiner.take(), ["member: end"]);
    for member in members {
        let reason = member.served.await.expect("no panic");
        assert_eq!(reason.cause(), Some(Cause::Draining));
    }
    let next = cluster.joiner(0, 5).await;
    assert_linked(&next, &other).await;

    drop(node.hub);
    timeout(3 * SECOND, node.driver).await.expect("the driver completes").expect("no panic");
    drop((other, joiner, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_of_a_node_removes_its_members_and_ends_their_links() {
    let mut cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    let node = cluster.nodes.remove(0);
    node.hub.shutdown().await;
    settle().await;
    assert_eq!(member.take(), [DRAINED]);
    assert_eq!(joiner.take(), ["member: end"]);
    assert_eq!(cluster.engine.list_count(), 0);
    assert!(joiner.connect(2, &[]).await, "the group has no member");
    drop(node.hub);
    timeout(3 * SECOND, node.driver).await.expect("the driver completes").expect("no panic");
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn events_and_reasons_of_an_eviction_are_reported_by_the_node_of_each_peer() {
    use futures::{FutureExt as _, StreamExt as _};

    let cluster = Cluster::start(2).await;
    let mut events = [0, 1].map(|node| cluster.nodes[node].hub.events());
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    joiner.send_connect(2, &[]);
    settle().await;
    let texts = events.each_mut().map(|events| {
        let mut texts = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            texts.push(match event {
                HubEvent::GroupCreated { .. } => "created".to_owned(),
                HubEvent::GroupRemoved { .. } => "removed".to_owned(),
                HubEvent::PeerJoined { .. } => "joined".to_owned(),
                HubEvent::ConnectAnswered { member, .. } => format!("answered {member}"),
                HubEvent::PeerLeft { reason: DisconnectReason::ClosedByHub { code, .. }, .. } => {
                    assert_eq!(code, CloseCode::BlockingMember);
                    "closed".to_owned()
                }
                other => panic!("unexpected event {other:?}"),
            });
        }
        texts
    });
    let expected: [&[&str]; 2] = [
        &["created", "joined", "answered true", "closed", "removed"],
        &["created", "joined", "answered false", "answered true"],
    ];
    assert_eq!(texts, expected);
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn node_sends_no_step_from_node_timeout_after_its_last_beat() {
    // The beats of a node start at even seconds. The last one succeeds at 4 s.
    for (at, sends) in [(millis(13_999), true), (millis(14_000), false)] {
        let mut cluster = Cluster::start(0).await;
        let start = Instant::now();
        cluster.add(|hub, cluster| (hub, cluster));
        sleep_until(start + 5 * SECOND).await;
        cluster.tap(0).state().fails_beats = true;
        let peer = cluster.join(0);
        sleep_until(start + at).await;
        peer.send_connect(1, &[]);
        settle().await;
        assert_eq!(peer.take().len(), usize::from(sends), "after {at:?}");
        cluster.tap(0).state().fails_beats = false;
        sleep(3 * SECOND).await;
        drop(peer);
        cluster.finish().await;
    }
}
