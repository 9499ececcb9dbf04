//! Lost replies, lost requests and lost messages.

use sigver::cluster::{Faults, Outage, StepFault};
use tokio::time::sleep;

use crate::cluster::{Cluster, EVICTED, SECOND, assert_linked, millis, settle};
use crate::peer::Peer;

/// Faults after which the outcome of a step is unknown. A call takes at most 500 ms.
const UNKNOWN: [StepFault; 4] = [
    StepFault::LoseRequest,
    StepFault::LoseReply,
    StepFault::DelayRequest(millis(700)),
    StepFault::DelayReply(millis(700)),
];

/// A member on node 0 with a joiner on each of nodes 1 and 2.
struct Linked {
    cluster: Cluster,
    member: Peer,
    joiners: [Peer; 2],
}

impl Linked {
    async fn start() -> Self {
        let cluster = Cluster::start(3).await;
        let member = cluster.member(0, 1, &[]).await;
        let joiners = [cluster.joiner(1, 2).await, cluster.joiner(2, 3).await];
        for joiner in &joiners {
            assert_linked(joiner, &member).await;
        }
        Self { cluster, member, joiners }
    }

    /// Sends content of the joiner on node 1 that the engine loses.
    async fn lose_content(&self) {
        self.cluster.tap(1).lose_sends(true);
        self.joiners[0].send_content(0, "lost");
        settle().await;
        self.cluster.tap(1).lose_sends(false);
        assert!(self.member.take().is_empty());
    }

    /// Checks that the link of the joiner on node 1 has ended for both ends, and that the other link has not.
    async fn assert_one_ended(&self) {
        let Self { member, joiners: [lost, other], .. } = self;
        assert_eq!(member.take(), ["joiner: end"]);
        assert_eq!(lost.take(), ["member: end"]);
        assert_linked(other, member).await;
    }

    /// Checks that new links work, and that nothing is left.
    async fn finish(self) {
        let Self { cluster, member, joiners } = self;
        let new = [cluster.joiner(1, 4).await, cluster.joiner(2, 5).await];
        for joiner in &new {
            assert_linked(joiner, &member).await;
        }
        drop((member, joiners, new));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn first_member_gets_one_answer_if_the_outcome_of_its_step_is_unknown() {
    for fault in UNKNOWN {
        let cluster = Cluster::start(2).await;
        let member = cluster.join(0);
        cluster.tap(0).engine.fault_next_step(fault);
        member.send_connect(1, &[]);
        sleep(2 * SECOND).await;
        assert_eq!(member.take(), ["true"], "{fault:?}");
        let joiner = cluster.joiner(1, 2).await;
        assert_linked(&joiner, &member).await;
        drop((member, joiner));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn step_that_fails_is_sent_again_after_a_wait() {
    let cluster = Cluster::start(1).await;
    cluster.tap(0).state().fails_steps = true;
    let member = cluster.join(0);
    member.send_connect(1, &[]);
    sleep(10 * SECOND).await;
    // The waits start over with each beat.
    let steps = cluster.tap(0).state().steps;
    assert!((10..=40).contains(&steps), "{steps}");
    cluster.tap(0).state().fails_steps = false;
    sleep(2 * SECOND).await;
    assert_eq!(member.take(), ["true"]);
    drop(member);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn new_member_gets_one_answer_and_keeps_its_position_if_the_outcome_of_its_step_is_unknown() {
    for fault in UNKNOWN {
        let cluster = Cluster::start(2).await;
        let first = cluster.member(0, 1, &[]).await;
        let second = cluster.join(1);
        cluster.tap(1).engine.fault_next_step(StepFault::DelayReply(millis(1)));
        cluster.tap(1).engine.fault_next_step(fault);
        second.send_connect(2, &[1]);
        sleep(millis(10)).await;
        let third = cluster.member(0, 3, &[1]).await;
        sleep(2 * SECOND).await;
        assert_eq!(second.take(), ["true"], "{fault:?}");

        let is_applied_first = matches!(fault, StepFault::LoseReply | StepFault::DelayReply(_));
        let order = if is_applied_first { [&first, &second, &third] } else { [&first, &third, &second] };
        let joiner = cluster.join(0);
        for member in order {
            assert!(!joiner.connect(9, &[]).await);
            assert_linked(&joiner, member).await;
        }
        drop((first, second, third, joiner));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn eviction_is_answered_once_if_the_outcome_of_its_step_is_unknown() {
    for fault in UNKNOWN {
        let cluster = Cluster::start(2).await;
        let member = cluster.member(0, 1, &[]).await;
        let joiner = cluster.joiner(1, 2).await;
        cluster.tap(1).engine.fault_next_step(fault);
        joiner.send_connect(2, &[]);
        sleep(2 * SECOND).await;
        assert_eq!(joiner.take(), ["true", "member: end"], "{fault:?}");
        assert_eq!(member.take(), [EVICTED], "{fault:?}");
        let next = cluster.joiner(0, 3).await;
        assert_linked(&next, &joiner).await;
        drop((joiner, next));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn member_that_loses_its_membership_gets_one_answer_if_the_outcome_of_its_step_is_unknown() {
    for fault in UNKNOWN {
        let cluster = Cluster::start(2).await;
        let first = cluster.member(0, 1, &[]).await;
        let second = cluster.member(1, 2, &[1]).await;
        cluster.tap(1).engine.fault_next_step(fault);
        second.send_connect(2, &[]);
        sleep(2 * SECOND).await;
        assert_eq!(second.take(), ["false"], "{fault:?}");
        assert_linked(&second, &first).await;
        let joiner = cluster.joiner(0, 3).await;
        assert_linked(&joiner, &first).await;
        // The first member is the only one, so it is evicted.
        joiner.send_connect(3, &[2]);
        settle().await;
        assert_eq!(first.take(), [EVICTED]);
        assert_eq!([joiner.take(), second.take()], [vec!["true", "member: end"], vec!["member: end"]]);
        drop((second, joiner));
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn member_that_leaves_leaves_no_entry_if_the_outcome_of_the_step_is_unknown() {
    for fault in UNKNOWN {
        let cluster = Cluster::start(2).await;
        let member = cluster.member(0, 1, &[]).await;
        cluster.tap(0).engine.fault_next_step(fault);
        drop(member);
        sleep(2 * SECOND).await;
        assert_eq!(cluster.engine.list_count(), 0, "{fault:?}");
        cluster.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn content_is_delivered_once_if_its_batch_arrives_again_later() {
    let Linked { cluster, member, joiners } = Linked::start().await;
    cluster.tap(1).engine.set_faults(Faults::new(1).late_duplicates(1.0, SECOND..=SECOND));
    for data in ["a", "b", "c"] {
        joiners[0].send_content(0, data);
        sleep(millis(400)).await;
    }
    sleep(5 * SECOND).await;
    assert_eq!(member.take(), ["joiner: a", "joiner: b", "joiner: c"]);
    let [lost, other] = joiners;
    drop(lost);
    sleep(5 * SECOND).await;
    assert_eq!(member.take(), ["joiner: end"]);
    assert_linked(&other, &member).await;
    drop((member, other));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn gap_ends_the_links_of_the_two_nodes_and_no_others() {
    let linked = Linked::start().await;
    linked.lose_content().await;
    linked.joiners[0].send_content(0, "after the gap");
    settle().await;
    linked.assert_one_ended().await;
    linked.finish().await;
}

#[tokio::test(start_paused = true)]
async fn lost_last_record_ends_the_links_of_the_two_nodes_within_two_seconds() {
    let linked = Linked::start().await;
    linked.lose_content().await;
    sleep(2 * SECOND).await;
    linked.assert_one_ended().await;
    linked.finish().await;
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_both_see_a_gap_do_not_send_resets_forever() {
    let linked = Linked::start().await;
    let cluster = &linked.cluster;
    linked.joiners[0].send_content(0, "offer");
    settle().await;
    let (link, _) = linked.member.take_link();
    for node in [0, 1] {
        cluster.tap(node).lose_sends(true);
    }
    linked.joiners[0].send_content(0, "lost");
    linked.member.send_content(link, "lost");
    settle().await;
    for node in [0, 1] {
        cluster.tap(node).lose_sends(false);
        cluster.tap(node).state().sends = 0;
    }
    sleep(30 * SECOND).await;
    linked.assert_one_ended().await;
    for node in [0, 1] {
        // A few records, and 10 SYNCs after the last one to each of two nodes.
        let sends = cluster.tap(node).state().sends;
        assert!(sends < 40, "{sends} batches");
    }
    linked.finish().await;
}

/// Sends three batches to node 0 while it cannot read its inbox. `damage` changes the inbox then.
async fn damage_inbox(linked: &Linked, damage: impl FnOnce(&Cluster)) {
    let engine = &linked.cluster.tap(0).engine;
    engine.cut(Outage::Hang);
    for data in ["a", "b", "c"] {
        linked.joiners[0].send_content(0, data);
        settle().await;
    }
    damage(&linked.cluster);
    engine.heal();
}

#[tokio::test(start_paused = true)]
async fn trimmed_inbox_ends_the_links_of_the_two_nodes() {
    let linked = Linked::start().await;
    damage_inbox(&linked, |cluster| cluster.engine.trim_inbox(cluster.tap(0).node(), 1)).await;
    settle().await;
    linked.assert_one_ended().await;
    linked.finish().await;
}

#[tokio::test(start_paused = true)]
async fn wiped_inbox_ends_the_links_of_the_two_nodes_within_two_seconds() {
    let linked = Linked::start().await;
    damage_inbox(&linked, |cluster| cluster.engine.wipe_inbox(cluster.tap(0).node())).await;
    sleep(2 * SECOND).await;
    linked.assert_one_ended().await;
    linked.finish().await;
}

#[tokio::test(start_paused = true)]
async fn inbox_that_is_behind_its_reader_is_read_from_its_start() {
    let linked = Linked::start().await;
    damage_inbox(&linked, |cluster| {
        cluster.engine.wipe_inbox(cluster.tap(0).node());
        cluster.engine.turn_clock_back(60 * SECOND);
    })
    .await;
    sleep(2 * SECOND).await;
    linked.assert_one_ended().await;
    linked.finish().await;
}

#[tokio::test(start_paused = true)]
async fn links_of_two_nodes_end_if_more_records_wait_than_max_outbox_bytes_per_node() {
    let cluster = Cluster::with(2, |hub, cluster| {
        (hub.max_message_bytes(1000).max_outbox_bytes(2024), cluster.max_outbox_bytes_per_node(2024))
    })
    .await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    cluster.engine.outage(Outage::Hang);
    for _ in 0..4 {
        joiner.send_content(0, vec![b'x'; 900]);
        settle().await;
    }
    assert_eq!(joiner.take(), ["member: end"]);
    assert!(member.take().is_empty());
    cluster.engine.restore();
    sleep(2 * SECOND).await;
    let seen = member.take();
    assert_eq!(seen.last().map(String::as_str), Some("joiner: end"));
    let next = cluster.joiner(1, 3).await;
    assert_linked(&next, &member).await;
    drop((member, joiner, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn entry_that_a_late_step_adds_after_its_peer_has_left_is_removed_when_a_joiner_is_bound_to_it() {
    let cluster = Cluster::start(2).await;
    let member = cluster.join(0);
    cluster.tap(0).engine.fault_next_step(StepFault::DelayRequest(5 * SECOND));
    member.send_connect(1, &[]);
    sleep(2 * SECOND).await;
    assert_eq!(member.take(), ["true"]);
    drop(member);
    settle().await;
    assert_eq!(cluster.engine.list_count(), 0);
    sleep(4 * SECOND).await;
    assert_eq!(cluster.engine.list_count(), 1, "the step founded the group");
    let joiner = cluster.join(1);
    joiner.send_connect(2, &[]);
    settle().await;
    assert_eq!(joiner.take(), ["false", "member: end"]);
    assert_eq!(cluster.engine.list_count(), 0);
    drop(joiner);
    cluster.finish().await;
}
