//! One test for each rule about peers, nodes and records that are gone before others know it.

use super::*;

#[test]
fn peer_that_leaves_before_an_unknown_outcome_is_resolved_leaves_no_entry() {
    let mut cluster = two_nodes([0]);
    cluster.start(connect(0, &[]));
    cluster.step_and_lose_reply(0);
    cluster.start(Event::Leave { peer: PeerId(0) });
    cluster.settle();
    assert_eq!(cluster.listed(), []);
    assert!(cluster.nodes[0].is_idle());
}

#[test]
fn removal_whose_request_was_lost_is_sent_again() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.start(Event::Leave { peer: PeerId(0) });
    cluster.next_step(0).expect("a removal");
    cluster.reply(0, Err(OutcomeUnknown));
    assert!(!cluster.nodes[0].is_idle());
    cluster.settle();
    assert_eq!(cluster.listed(), [(1, 101)]);
}

#[test]
fn joiner_is_not_bound_to_a_member_of_a_dead_node() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.node_died(1, 0);
    cluster.handle(connect(1, &[]));
    assert_eq!(cluster.seen(1), [answer(true)], "the list has no other member");
    assert_eq!(cluster.listed(), [(1, 101)]);
}

#[test]
fn bind_that_crosses_a_reset_leaves_no_half_of_a_link() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.start(connect(0, &[]));
    let (_, list) = cluster.step(0);
    cluster.reply(0, Ok(list));
    // Node 1 has missed a record, and sends RESET before it receives the bind.
    let mut out = Vec::new();
    cluster.nodes[0].reset_links_with(NodeId(1), &mut out);
    cluster.apply(0, out);
    cluster.settle();
    assert_eq!(cluster.nodes[1].link_count(), 0);
    assert_eq!(cluster.seen(0), [answer(false), from_member(0, "")]);
}
