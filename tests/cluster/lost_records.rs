//! Records that never reach their receiver, and what both nodes do about it.

use sigver::ClusterConfig;
use sigver::cluster::Outage;
use tokio::time::sleep;

use crate::cluster::{Cluster, SECOND, assert_linked, settle};
use crate::peer::Peer;

#[tokio::test(start_paused = true)]
async fn batch_is_not_sent_again_after_its_receiver_has_died() {
    let mut cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    cluster.tap(1).state().fails_sends = true;
    joiner.send_content(0, "not sent");
    settle().await;
    cluster.crash(0, [member]).await;
    sleep(14 * SECOND).await;
    assert_eq!(joiner.take(), ["member: end"]);
    let sends = cluster.tap(0).state().sends;
    assert!(sends > 5, "it was repeated: {sends}");
    sleep(30 * SECOND).await;
    assert_eq!(cluster.tap(0).state().sends, sends);
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn call_that_fails_is_repeated_soon_after_a_beat_has_succeeded() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    cluster.tap(1).state().fails_sends = true;
    joiner.send_content(0, "offer");
    sleep(100 * SECOND).await;
    // Without the beats, at most one in 500 ms.
    let sends = cluster.tap(1).state().sends;
    assert!(sends > 202, "{sends}");
    cluster.tap(1).state().fails_sends = false;
    sleep(2 * SECOND).await;
    assert_eq!(member.take_link().1, "offer");
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn inbox_that_cannot_be_read_is_read_again_after_a_wait_and_loses_nothing() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    cluster.tap(0).state().fails_recvs = true;
    joiner.send_content(0, "offer");
    settle().await;
    // The reader may have received this batch before.
    member.take();
    joiner.send_content(0, "candidate");
    let before = cluster.tap(0).state().recvs;
    sleep(20 * SECOND).await;
    let recvs = cluster.tap(0).state().recvs - before;
    // The waits start over with each beat.
    assert!((20..=80).contains(&recvs), "{recvs}");
    cluster.tap(0).state().fails_recvs = false;
    sleep(2 * SECOND).await;
    assert_eq!(member.take(), ["joiner: candidate"]);
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn records_that_the_engine_lost_end_their_link_even_if_they_are_old() {
    for wiped in [true, false] {
        let timeout = |hub, cluster: ClusterConfig| (hub, cluster.node_timeout(60 * SECOND));
        let cluster = Cluster::with(2, timeout).await;
        let member = cluster.member(0, 1, &[]).await;
        let joiner = cluster.joiner(1, 2).await;
        assert_linked(&joiner, &member).await;
        // The receiver does not read while the sender still sends SYNCs.
        cluster.tap(0).engine.cut(Outage::Hang);
        joiner.send_content(0, "lost");
        sleep(20 * SECOND).await;
        if wiped {
            cluster.engine.wipe();
        } else {
            cluster.engine.wipe_inbox(cluster.tap(0).node());
            cluster.engine.outage(Outage::Lose);
            sleep(5 * SECOND).await;
            cluster.engine.restore();
        }
        cluster.tap(0).engine.heal();
        sleep(5 * SECOND).await;
        assert_eq!(member.take(), ["joiner: end"], "wiped: {wiped}");
        assert_eq!(joiner.take(), ["member: end"], "wiped: {wiped}");
        drop((member, joiner));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn lost_records_lead_to_one_look_at_each_group_with_a_link_to_their_sender() {
    let cluster = Cluster::start(3).await;
    let member = cluster.member(0, 1, &[]).await;
    let [joiner, other] = [cluster.joiner(1, 2).await, cluster.joiner(2, 3).await];
    // Groups of the node without a link to the sender.
    let unlinked = ["a", "b"].map(|key| cluster.join_as(0, key));
    for peer in &unlinked {
        assert!(peer.connect(1, &[]).await);
    }
    let before = cluster.tap(0).state().steps;
    cluster.tap(1).lose_sends(true);
    joiner.send_content(0, "lost");
    settle().await;
    cluster.tap(1).lose_sends(false);
    sleep(2 * SECOND).await;
    assert_eq!(member.take(), ["joiner: end"]);
    assert_eq!(cluster.tap(0).state().steps - before, 1);
    assert_linked(&other, &member).await;
    drop((member, joiner, other, unlinked));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn link_that_was_bound_between_a_gap_and_its_reset_ends_for_both_ends() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(1, 1, &[]).await;
    let lose_content = async |joiner: &Peer| {
        joiner.send_content(0, "offer");
        settle().await;
        let (link, _) = member.take_link();
        cluster.tap(1).lose_sends(true);
        member.send_content(link, "lost");
        settle().await;
        cluster.tap(1).lose_sends(false);
        member.send_content(link, "after the lost content");
        settle().await;
        assert_eq!(joiner.take(), ["member: end"]);
    };
    let first = cluster.joiner(0, 2).await;
    lose_content(&first).await;
    assert_eq!(member.take(), ["joiner: end"]);
    // The next RESET is sent 500 ms after the first one.
    let second = cluster.joiner(0, 3).await;
    lose_content(&second).await;
    assert_eq!(member.take(), [""; 0]);
    let between = cluster.joiner(0, 4).await;
    assert_linked(&between, &member).await;
    sleep(SECOND).await;
    assert_eq!(member.take(), ["joiner: end", "joiner: end"]);
    assert_eq!(between.take(), ["member: end"]);
    let next = cluster.joiner(0, 5).await;
    assert_linked(&next, &member).await;
    drop((member, first, second, between, next));
    cluster.finish().await;
}
