//! One test for each rule about links between two nodes.

use super::*;

#[test]
fn joiner_bound_to_a_member_that_just_left_receives_the_end() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.start(connect(1, &[]));
    let (_, failed) = cluster.step(1);
    cluster.start(Event::Leave { peer: PeerId(0) });
    cluster.reply(1, Ok(failed));
    cluster.settle();
    assert_eq!(cluster.seen(1), [answer(false), from_member(1, "")]);
    assert_eq!(cluster.released, [link(0), link(1)], "the id of the link is free again");
}

#[test]
fn member_that_is_bound_to_a_member_of_its_node_that_just_left_receives_the_end() {
    let mut cluster = two_nodes([1, 3]);
    cluster.handle(connect(3, &[]));
    cluster.handle(connect(1, &[103]));
    cluster.seen.clear();
    cluster.start(connect(1, &[]));
    let (_, bound) = cluster.step(1);
    cluster.start(Event::Leave { peer: PeerId(3) });
    cluster.reply(1, Ok(bound));
    cluster.settle();
    assert_eq!(cluster.seen(1), [answer(false), from_member(1, "")]);
}

#[test]
fn content_for_the_new_id_of_a_renamed_member_reaches_it() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[100]));
    cluster.handle(connect(1, &[]));
    let rename = Event::Connect {
        peer: PeerId(0),
        id: MemberId(777),
        members: vec![MemberId(102)],
        new_link: link(0),
        now: Duration::ZERO,
    };
    cluster.handle(rename);
    cluster.seen.clear();
    cluster.handle(content(1, 100, "to the old id"));
    cluster.handle(content(1, 777, "to the new id"));
    assert_eq!(cluster.seen(0), [from_joiner(1, "to the new id")]);
}

#[test]
fn link_id_that_is_in_use_at_the_members_node_ends_the_new_link() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[]));
    cluster.seen.clear();
    cluster.handle(connect_over(link(2), 1, &[]));
    assert_eq!(cluster.seen(1), [answer(false), from_member(2, "")]);
    cluster.handle(content(2, 0, "offer"));
    assert_eq!(cluster.seen(0), [from_joiner(2, "offer")], "the first link stays");
}

#[test]
fn links_of_two_nodes_that_draw_the_same_id_at_the_same_time_both_end() {
    let mut cluster = two_nodes(0..4);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.handle(connect(2, &[]));
    cluster.seen.clear();
    // Peer 2 is bound to peer 1 next, and peer 3 to peer 0.
    for (peer, node) in [(2, 0), (3, 1)] {
        cluster.start(connect_over(link(9), peer, &[]));
        let (_, list) = cluster.step(node);
        cluster.reply(node, Ok(list));
    }
    cluster.settle();
    for joiner in [2, 3] {
        assert_eq!(cluster.seen(joiner), [answer(false), from_member(9, "")]);
        cluster.handle(content(joiner, 0, "lost"));
    }
    assert!(cluster.seen.is_empty() && cluster.nodes.iter().all(|group| group.stand_ins.is_empty()));
}

#[test]
fn reset_ends_the_links_of_both_nodes() {
    let mut cluster = two_nodes(0..3);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.seen.clear();
    let mut out = Vec::new();
    cluster.nodes[0].end_links_with(NodeId(1), &mut out);
    cluster.apply(0, out);
    let mut out = Vec::new();
    cluster.nodes[1].reset_links_with(NodeId(0), &mut out);
    cluster.apply(1, out);
    cluster.settle();
    assert_eq!((cluster.seen(0), cluster.seen(1)), (vec![from_joiner(1, "")], vec![from_member(1, "")]));
    cluster.assert_consistent("after the RESET");
}

#[test]
fn members_of_a_dead_node_are_removed_and_their_joiners_receive_the_end() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[]));
    cluster.seen.clear();
    cluster.node_died(0, 1);
    assert_eq!(cluster.seen(0), [from_member(0, "")]);
    let (step, list) = cluster.step(0);
    assert_eq!(step.condition, Condition::Always);
    assert_eq!(step.changes, [Change::Remove(Token { node: NodeId(1), peer: PeerId(1) })]);
    cluster.reply(0, Ok(list));
    cluster.handle(connect(2, &[]));
    assert_eq!(cluster.seen(2), [answer(true)], "the group has no member");
}
