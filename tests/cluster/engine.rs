//! An engine that is unreachable, or that loses state.

use sigver::cluster::Outage;
use sigver::{Cause, CloseCode, DisconnectReason};
use tokio::time::sleep;

use crate::cluster::{Cluster, EVICTED, SECOND, UNANSWERED, assert_linked, millis, settle};

const OUTAGES: [Outage; 2] = [Outage::Lose, Outage::Hang];

#[tokio::test(start_paused = true)]
async fn outage_of_8_seconds_closes_no_peer_and_loses_no_content() {
    for outage in OUTAGES {
        let cluster = Cluster::start(2).await;
        let member = cluster.member(0, 1, &[]).await;
        let joiner = cluster.joiner(1, 2).await;
        assert_linked(&joiner, &member).await;
        cluster.engine.outage(outage);
        let waiting = [cluster.join(0), cluster.join(1)];
        waiting.iter().for_each(|peer| peer.send_connect(9, &[]));
        joiner.send_content(0, "during the outage");
        sleep(8 * SECOND).await;
        assert!(waiting.iter().all(|peer| peer.take().is_empty()));
        cluster.engine.restore();
        sleep(7 * SECOND).await;
        assert_eq!(member.take(), ["joiner: during the outage"], "{outage:?}");
        for peer in &waiting {
            assert_eq!(peer.take(), ["false"], "{outage:?}");
            assert_linked(peer, &member).await;
        }
        assert_linked(&joiner, &member).await;
        drop((member, joiner, waiting));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn outage_of_25_seconds_closes_the_peers_whose_connect_is_too_old_and_nothing_else() {
    for outage in OUTAGES {
        let cluster = Cluster::start(2).await;
        let hub = &cluster.nodes[0].hub;
        let member = cluster.member(0, 1, &[]).await;
        let [local, remote] = [cluster.joiner(0, 2).await, cluster.joiner(1, 3).await];
        for joiner in [&local, &remote] {
            assert_linked(joiner, &member).await;
        }
        cluster.engine.outage(outage);
        let early = cluster.join(0);
        early.send_connect(4, &[]);
        sleep(4 * SECOND).await;
        sleep(SECOND).await;
        assert!(!hub.is_ready(), "5 s after the last beat");
        sleep(8 * SECOND).await;
        let late = cluster.join(0);
        late.send_connect(5, &[]);
        assert!(early.take().is_empty());
        sleep(3 * SECOND).await;
        assert_eq!(early.take(), [UNANSWERED], "{outage:?}");
        assert!(early.heartbeats() >= 3, "{}", early.heartbeats());
        let reason = early.served.await.expect("no panic");
        assert!(matches!(reason, DisconnectReason::ClosedByHub { code: CloseCode::TryAgainLater, .. }), "{reason}");
        assert_eq!(reason.cause(), Some(Cause::ConnectAnswerTimeout));
        assert_eq!(hub.stats().closes.get(Cause::ConnectAnswerTimeout), 1);

        let heartbeats = member.heartbeats();
        remote.send_content(0, "during the outage");
        assert_linked(&local, &member).await;
        sleep(9 * SECOND).await;
        assert!(member.heartbeats() > heartbeats);
        cluster.engine.restore();
        sleep(6 * SECOND).await;
        assert!(hub.is_ready());
        assert_eq!(late.take(), ["false"], "{outage:?}");
        assert_eq!(member.take(), ["joiner: during the outage"], "{outage:?}");
        for joiner in [&local, &remote, &late] {
            assert_linked(joiner, &member).await;
        }
        drop((member, local, remote, late));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn outage_makes_no_node_look_silent() {
    // Whichever node beats last before the outage, and first after it.
    for (start, length) in [(250, 24_000), (1250, 24_000), (250, 25_000), (1250, 25_000)] {
        let mut cluster = Cluster::start(1).await;
        sleep(SECOND).await;
        cluster.add(|hub, cluster| (hub, cluster));
        sleep(5 * SECOND + millis(start)).await;
        let before = [0, 1].map(|node| cluster.tap(node).node());
        cluster.engine.outage(Outage::Lose);
        sleep(millis(length)).await;
        cluster.engine.restore();
        sleep(10 * SECOND).await;
        assert_eq!([0, 1].map(|node| cluster.tap(node).node()), before, "after {start} ms, for {length} ms");
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_and_missed_ones_not_counted_while_a_connect_waits() {
    let cluster = Cluster::with(1, |hub, cluster| (hub, cluster.connect_answer_timeout(60 * SECOND))).await;
    let silent = cluster.join_silent(0);
    settle().await;
    cluster.engine.outage(Outage::Hang);
    silent.send_connect(1, &[]);
    sleep(40 * SECOND).await;
    assert_eq!(silent.heartbeats(), 8, "one in 5 s");
    cluster.engine.restore();
    sleep(5 * SECOND).await;
    assert_eq!(silent.take(), ["true"]);
    sleep(16 * SECOND).await;
    assert_eq!(silent.take(), ["close 4742: missed 3 heartbeats"], "they are counted again after the answer");
    drop(silent);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn engine_that_is_unreachable_at_the_start_delays_readiness_and_answers() {
    let mut cluster = Cluster::start(0).await;
    cluster.engine.outage(Outage::Lose);
    cluster.add(|hub, cluster| (hub, cluster));
    sleep(10 * SECOND).await;
    assert!(!cluster.nodes[0].hub.is_ready());
    let member = cluster.join(0);
    member.send_connect(1, &[]);
    sleep(4 * SECOND).await;
    assert!(member.take().is_empty());
    cluster.engine.restore();
    sleep(4 * SECOND).await;
    assert!(cluster.nodes[0].hub.is_ready());
    assert_eq!(member.take(), ["true"]);
    drop(member);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn peers_that_leave_during_an_outage_are_removed_afterwards() {
    for outage in OUTAGES {
        let cluster = Cluster::start(2).await;
        let member = cluster.member(0, 1, &[]).await;
        let joiner = cluster.joiner(1, 2).await;
        cluster.engine.outage(outage);
        let waiting = cluster.join(0);
        waiting.send_connect(3, &[1]);
        sleep(SECOND).await;
        drop((member, waiting));
        sleep(20 * SECOND).await;
        assert!(joiner.take().is_empty(), "nobody can tell it");
        cluster.engine.restore();
        sleep(6 * SECOND).await;
        assert_eq!(joiner.take(), ["member: end"], "{outage:?}");
        assert_eq!(cluster.engine.list_count(), 0, "{outage:?}");
        assert!(joiner.connect(2, &[]).await, "{outage:?}");
        drop(joiner);
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn member_that_a_rollback_has_lost_returns_at_its_position() {
    let cluster = Cluster::start(3).await;
    let first = cluster.member(0, 1, &[]).await;
    let snapshot = cluster.engine.snapshot();
    let second = cluster.member(1, 2, &[1]).await;
    // A rollback is detected because it also loses beats.
    sleep(3 * SECOND).await;
    cluster.engine.rollback(&snapshot);
    // The next member gets the position of the second one, which therefore gets a later one.
    let third = cluster.member(2, 3, &[1]).await;
    sleep(5 * SECOND).await;
    let joiner = cluster.join(0);
    for member in [&first, &third, &second] {
        assert!(!joiner.connect(9, &[]).await);
        assert_linked(&joiner, member).await;
    }
    drop((first, second, third, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn member_that_an_unnoticed_rollback_has_lost_returns_when_its_node_reads_the_list() {
    let cluster = Cluster::start(2).await;
    let first = cluster.member(0, 1, &[]).await;
    let snapshot = cluster.engine.snapshot();
    let second = cluster.member(1, 2, &[1]).await;
    // No beat was lost.
    cluster.engine.rollback(&snapshot);
    let joiner = cluster.joiner(1, 3).await;
    assert!(first.take().is_empty() && second.take().is_empty());
    assert!(cluster.join(0).connect(4, &[2]).await, "the second member is in the list");
    drop((first, second, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn rollback_to_an_older_founding_closes_the_members_of_the_newer_one() {
    let cluster = Cluster::start(3).await;
    let old = cluster.member(0, 1, &[]).await;
    let other = cluster.member(2, 2, &[1]).await;
    let snapshot = cluster.engine.snapshot();
    drop((old, other));
    settle().await;
    let new = cluster.member(1, 3, &[]).await;
    // A rollback is detected because it also loses beats.
    sleep(3 * SECOND).await;
    cluster.engine.rollback(&snapshot);
    sleep(5 * SECOND).await;
    assert_eq!(new.take(), [EVICTED]);
    // The members that have left are in the list again. A joiner that is bound to one learns that it has left.
    let joiner = cluster.join(1);
    for _ in 0..2 {
        joiner.send_connect(4, &[]);
        settle().await;
        assert_eq!(joiner.take(), ["false", "member: end"]);
    }
    assert!(joiner.connect(4, &[]).await, "no member is left");
    drop((new, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn list_that_reaches_an_earlier_count_after_a_rollback_is_read_again() {
    let cluster = Cluster::start(3).await;
    let first = cluster.member(0, 1, &[]).await;
    let snapshot = cluster.engine.snapshot();
    let lost = cluster.member(1, 2, &[1]).await;
    cluster.engine.rollback(&snapshot);
    let new = cluster.member(2, 3, &[1]).await;
    // Node 1 has a list with the same count, but without this member.
    let peer = cluster.join(1);
    assert!(peer.connect(4, &[3]).await);
    drop((first, lost, new, peer));
    sleep(5 * SECOND).await;
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn members_return_at_their_positions_after_the_engine_was_wiped() {
    let cluster = Cluster::start(2).await;
    let first = cluster.member(0, 1, &[]).await;
    let second = cluster.member(1, 2, &[1]).await;
    let third = cluster.member(0, 3, &[1]).await;
    let linked = cluster.joiner(1, 4).await;
    assert_linked(&linked, &first).await;
    cluster.engine.wipe();
    sleep(5 * SECOND).await;
    assert_linked(&linked, &first).await;
    let joiner = cluster.join(1);
    for member in [&first, &second, &third] {
        assert!(!joiner.connect(9, &[]).await);
        assert_linked(&joiner, member).await;
    }
    drop((first, second, third, linked, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn peer_that_founds_its_group_after_the_engine_was_wiped_replaces_the_earlier_members() {
    let cluster = Cluster::start(3).await;
    let earlier = [cluster.member(0, 1, &[]).await, cluster.member(1, 2, &[1]).await];
    let joiner = cluster.joiner(2, 3).await;
    assert_linked(&joiner, &earlier[0]).await;
    cluster.engine.wipe();
    assert!(joiner.connect(3, &[]).await);
    sleep(5 * SECOND).await;
    for member in &earlier {
        assert_eq!(member.take(), [EVICTED]);
    }
    assert_eq!(joiner.take(), ["member: end"]);
    let next = cluster.joiner(0, 4).await;
    assert_linked(&next, &joiner).await;
    drop((joiner, next));
    cluster.finish().await;
}
