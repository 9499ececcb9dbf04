//! The answers to `connect`, and what follows from them, for peers on several nodes.

use std::mem::swap;
use std::time::Duration;

use sigver::cluster::{Faults, StepFault};
use tokio::time::sleep;

use crate::cluster::{Cluster, EVICTED, SECOND, assert_linked, millis, settle};

#[tokio::test(start_paused = true)]
async fn one_of_two_first_peers_becomes_a_member_and_the_other_is_bound_to_it() {
    let cluster = Cluster::start(2).await;
    let (mut member, mut joiner) = (cluster.join(0), cluster.join(1));
    member.send_connect(1, &[]);
    joiner.send_connect(2, &[]);
    settle().await;
    let mut answers = [member.take(), joiner.take()];
    if answers[0] == ["false"] {
        swap(&mut member, &mut joiner);
        answers.reverse();
    }
    assert_eq!(answers, [["true"], ["false"]]);
    assert_linked(&joiner, &member).await;
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn joiner_that_is_bound_to_a_member_that_has_just_left_receives_the_answer_and_then_the_end() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    cluster.tap(0).engine.fault_next_step(StepFault::DelayRequest(millis(300)));
    drop(member);
    settle().await;
    let joiner = cluster.join(1);
    joiner.send_connect(2, &[]);
    settle().await;
    assert_eq!(joiner.take(), ["false", "member: end"]);
    sleep(SECOND).await;
    assert!(joiner.connect(2, &[]).await, "the group is empty");
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn content_that_arrives_before_the_answer_is_delivered_after_it() {
    let cluster = Cluster::start(2).await;
    let member = cluster.join(1);
    cluster.tap(1).engine.fault_next_step(StepFault::DelayReply(millis(300)));
    member.send_connect(1, &[]);
    settle().await;
    let joiner = cluster.joiner(0, 2).await;
    joiner.send_content(0, "early");
    settle().await;
    assert!(member.take().is_empty(), "its answer is on its way");
    sleep(millis(300)).await;
    assert_eq!(member.take(), ["true", "joiner: early"]);
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn attempt_that_lost_its_race_leaves_the_search_unchanged() {
    let cluster = Cluster::start(2).await;
    let first = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 9).await;
    // Decided as an eviction of the only member, which is not the only one any more when the step arrives.
    cluster.tap(1).engine.fault_next_step(StepFault::DelayRequest(millis(300)));
    joiner.send_connect(9, &[]);
    settle().await;
    let second = cluster.member(0, 2, &[1]).await;
    sleep(millis(300)).await;
    assert_eq!(joiner.take(), ["false"]);
    assert_linked(&joiner, &second).await;
    assert!(first.take().is_empty(), "the first member was tried before");
    drop((first, second, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_member_of_a_storm_takes_one_step() {
    const PEERS: u32 = 20;
    let cluster = Cluster::start(3).await;
    let mut peers = vec![cluster.member(0, 1, &[]).await];
    let delays = millis(1)..=millis(5);
    for node in 0..3 {
        let faults = Faults::new(node as u64).request_delay(delays.clone()).reply_delay(delays.clone());
        cluster.tap(node).engine.set_faults(faults);
        cluster.tap(node).state().steps = 0;
        for id in 0..PEERS {
            let peer = cluster.join(node);
            peer.send_connect(100 * (node as u32 + 1) + id, &[1]);
            peers.push(peer);
        }
    }
    sleep(SECOND).await;
    for peer in &peers[1..] {
        assert_eq!(peer.take(), ["true"]);
    }
    let steps = [0, 1, 2].map(|node| cluster.tap(node).state().steps);
    // A node without a copy of the list needs one step more.
    let peers_per_node = PEERS as usize;
    assert_eq!(steps, [peers_per_node, peers_per_node + 1, peers_per_node + 1]);
    drop(peers);
    sleep(SECOND).await;
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn evicted_member_of_another_node_is_closed_with_4744() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    joiner.send_connect(2, &[]);
    settle().await;
    assert_eq!(joiner.take(), ["true", "member: end"]);
    assert_eq!(member.take(), [EVICTED]);
    let next = cluster.joiner(0, 3).await;
    assert_linked(&next, &joiner).await;
    drop((joiner, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn member_whose_eviction_notice_was_lost_is_closed_at_the_next_audit() {
    let minute = 60 * SECOND;
    let cluster = Cluster::with(2, |hub, cluster| (hub, cluster.audit_interval(minute))).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    cluster.tap(1).lose_sends(true);
    assert!(joiner.connect(2, &[]).await);
    sleep(20 * SECOND).await;
    assert!(member.take().is_empty(), "it does not know yet");
    sleep(60 * SECOND).await;
    assert_eq!(member.take(), [EVICTED]);
    assert_eq!(joiner.take(), ["member: end"]);
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn eviction_that_was_decided_before_a_rename_is_decided_again() {
    let cluster = Cluster::start(3).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 9).await;
    cluster.tap(1).engine.fault_next_step(StepFault::DelayRequest(millis(300)));
    joiner.send_connect(9, &[]);
    settle().await;
    let other = cluster.member(2, 2, &[1]).await;
    assert!(member.connect(11, &[2]).await);
    drop(other);
    sleep(millis(300)).await;
    // The joiner has not tried the new id.
    assert_eq!(joiner.take(), ["false"]);
    assert_linked(&joiner, &member).await;
    drop((member, joiner));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn rename_that_arrives_after_an_eviction_has_no_effect() {
    let cluster = Cluster::start(3).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 9).await;
    let other = cluster.member(2, 2, &[1]).await;
    cluster.tap(0).engine.fault_next_step(StepFault::DelayRequest(millis(300)));
    member.send_connect(11, &[2]);
    drop(other);
    settle().await;
    assert!(joiner.connect(9, &[]).await, "it evicts the only member");
    sleep(millis(300)).await;
    assert_eq!(member.take(), [EVICTED]);
    assert_eq!(joiner.take(), ["member: end"]);
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn two_members_of_different_nodes_can_have_the_same_id() {
    let cluster = Cluster::start(3).await;
    let [first, second] = [cluster.member(0, 7, &[]).await, cluster.member(1, 7, &[7]).await];
    let joiner = cluster.joiner(2, 3).await;
    assert_linked(&joiner, &first).await;
    drop(first);
    settle().await;
    assert_eq!(joiner.take(), ["member: end"]);
    let member = cluster.member(0, 4, &[7]).await;
    drop(second);
    settle().await;
    assert!(!joiner.connect(3, &[7]).await, "no member has the id any more");
    assert_linked(&joiner, &member).await;
    drop((joiner, member));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn content_for_the_new_id_of_a_renamed_member_reaches_it() {
    let cluster = Cluster::start(3).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 9).await;
    let other = cluster.member(2, 2, &[1]).await;
    assert!(member.connect(11, &[2]).await);
    for (id, data) in [(1, "to the old id"), (11, "to the new id"), (2, "to another member"), (0, "to the member")] {
        joiner.send_content(id, data);
    }
    settle().await;
    assert_eq!(member.take(), ["joiner: to the new id", "joiner: to the member"]);
    assert!(other.take().is_empty());
    drop((member, joiner, other));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn member_is_protected_from_eviction_on_all_nodes_until_its_minimum_age() {
    let cluster = Cluster::with(2, |hub, cluster| (hub.eviction_min_age(5 * SECOND), cluster)).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    assert!(!joiner.connect(2, &[]).await);
    sleep(Duration::from_millis(4900)).await;
    assert!(!joiner.connect(2, &[]).await);
    sleep(millis(200)).await;
    joiner.send_connect(2, &[]);
    settle().await;
    assert_eq!(joiner.take(), ["true", "member: end"]);
    assert_eq!(member.take(), [EVICTED]);
    drop(joiner);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn favored_member_of_another_node_is_selected_first() {
    let cluster = Cluster::start(2).await;
    let regular = cluster.member(0, 1, &[]).await;
    let favored = cluster.join_as(1, sigver::JoinRequest::new("K").favored(true));
    assert!(favored.connect(2, &[1]).await);
    let joiner = cluster.joiner(0, 3).await;
    assert_linked(&joiner, &favored).await;
    assert!(!joiner.connect(3, &[]).await);
    assert_linked(&joiner, &regular).await;
    drop((regular, favored, joiner));
    cluster.finish().await;
}
