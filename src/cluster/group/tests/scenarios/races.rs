//! One test for each rule about events during a connect, and about link ids that two nodes use.

use super::*;

#[test]
fn connect_of_a_member_that_is_evicted_meanwhile_is_not_answered() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.seen.clear();
    // Node 0 wants to rename its member, but node 1 evicts it first.
    cluster.start(rename(0, 777, &[101]));
    let request = cluster.next_step(0).expect("a step");
    cluster.start(connect_over(link(9), 1, &[]));
    let (_, evicted) = cluster.step(1);
    cluster.reply(1, Ok(evicted));
    let list = cluster.engine.step(tag(), &request, Duration::ZERO);
    cluster.reply(0, Ok(list));
    cluster.settle();
    assert_eq!(cluster.seen(0), [CLOSED]);
    assert_eq!(cluster.listed(), [(1, 101)], "the evicted peer is not a member again");
    assert!(cluster.released.contains(&link(50)));
}

#[test]
fn peer_whose_messages_overflow_gets_no_answer_and_one_close() {
    let mut cluster = two_nodes([0, 2, 4]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[100]));
    // 4 is bound to 0. Both 0 and 2 are members.
    cluster.handle(connect(4, &[]));
    cluster.seen.clear();
    cluster.start(rename(0, 777, &[102]));
    let (_, list) = cluster.step(0);
    cluster.overflow(4);
    cluster.overflow(4);
    cluster.reply(0, Ok(list));
    cluster.settle();
    let closes = cluster.seen(0).into_iter().filter(|seen| !matches!(seen, Seen::Message(Message::Content { .. })));
    assert_eq!(closes.collect::<Vec<_>>(), [OVERLOADED]);
    cluster.handle(Event::Leave { peer: PeerId(0) });
    assert_eq!(cluster.listed(), [(2, 102)], "its entry is removed");
}

#[test]
fn first_connect_of_a_peer_whose_messages_overflow_leaves_no_entry() {
    let mut cluster = two_nodes([0, 2, 1]);
    cluster.handle(connect(2, &[]));
    cluster.start(connect(0, &[102]));
    let (_, list) = cluster.step(0);
    cluster.receive(1, 0, bind_record(link(9), 1, 0));
    for _ in 0..2 {
        let bytes = vec![0; RULES.max_held_bytes * 2 / 3].into();
        cluster.receive(1, 0, Record::Data { group: tag(), link: link(9), side: Side::Joiner, last: false, bytes });
    }
    assert_eq!(cluster.seen(0), [OVERLOADED]);
    cluster.reply(0, Ok(list));
    cluster.settle();
    assert_eq!(cluster.seen(0), []);
    cluster.handle(Event::Leave { peer: PeerId(0) });
    assert_eq!(cluster.listed(), [(2, 102)]);
}

#[test]
fn reply_answers_no_connect_that_began_after_its_step() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(1, &[]));
    cluster.start(connect(0, &[]));
    let (_, list) = cluster.step(0);
    cluster.handle(Event::Leave { peer: PeerId(1) });
    cluster.start(connect(2, &[]));
    cluster.reply(0, Ok(list));
    assert_eq!(cluster.seen(0), [answer(false)]);
    assert_eq!(cluster.seen(2), [], "the list of the reply has a member that has left");
    cluster.settle();
    assert_eq!(cluster.seen(2), [answer(true)]);
}

#[test]
fn messages_that_wait_may_have_max_held_bytes_and_no_byte_more() {
    for (data, is_closed) in [("1234", false), ("12345", true)] {
        let mut cluster = two_nodes([0, 2]);
        cluster.handle(connect(0, &[]));
        cluster.handle(connect(2, &[]));
        cluster.seen.clear();
        cluster.nodes[0].rules.max_held_bytes = size_of::<Message>() + 4;
        cluster.start(connect(0, &[]));
        cluster.start(content(2, 0, data));
        assert_eq!(cluster.seen(0).contains(&OVERLOADED), is_closed, "{data}");
    }
}

#[test]
fn empty_messages_that_wait_are_bounded() {
    let mut cluster = two_nodes([0, 2]);
    cluster.nodes[0].rules.max_held_bytes = 10_000;
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[]));
    cluster.start(connect(0, &[]));
    for _ in 0..1000 {
        cluster.start(content(2, 0, ""));
    }
    assert!(cluster.seen(0).contains(&OVERLOADED));
}

#[test]
fn content_of_a_replaced_link_does_not_follow_the_answer() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[100]));
    cluster.handle(connect(1, &[]));
    cluster.seen.clear();
    cluster.start(connect_over(link(9), 1, &[]));
    let (_, list) = cluster.step(1);
    cluster.start(content(0, link(1).value(), "over the replaced link"));
    cluster.deliver(NodeId(0), NodeId(1));
    cluster.reply(1, Ok(list));
    cluster.settle();
    assert_eq!(cluster.seen(1), [answer(false)], "it is bound to the next member");
    // If the link stays, its content follows the answer.
    cluster.start(connect_over(link(8), 1, &[100]));
    let (_, list) = cluster.step(1);
    cluster.start(content(2, link(9).value(), "over the link"));
    cluster.deliver(NodeId(0), NodeId(1));
    cluster.reply(1, Ok(list));
    cluster.settle();
    assert_eq!(cluster.seen(1), [answer(true), from_member(9, "over the link")]);
}

#[test]
fn link_id_of_a_connect_that_waits_is_in_use() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.seen.clear();
    // Node 1 uses the id for a link to peer 0 while node 0 waits for the answer to a connect with the same id.
    cluster.start(connect_over(link(9), 2, &[]));
    let (_, list) = cluster.step(0);
    cluster.start(connect_over(link(9), 1, &[]));
    let (_, bound) = cluster.step(1);
    cluster.reply(1, Ok(bound));
    cluster.deliver(NodeId(1), NodeId(0));
    cluster.reply(0, Ok(list));
    cluster.settle();
    assert_eq!(cluster.seen(1), [answer(false), from_member(9, "")]);
    cluster.handle(content(2, 0, "offer"));
    assert_eq!((cluster.seen(2), cluster.seen(0)), (vec![answer(false)], vec![from_joiner(9, "offer")]));
    cluster.assert_consistent("after both answers");
}

#[test]
fn connect_over_the_id_of_a_link_with_a_remote_joiner_receives_the_end() {
    let mut cluster = two_nodes(0..4);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.handle(connect_over(link(9), 3, &[]));
    cluster.seen.clear();
    for peer in [2, 2] {
        // The first member is on this node, the second one on the other.
        cluster.handle(connect_over(link(9), peer, &[]));
        assert_eq!(cluster.seen(2), [answer(false), from_member(9, "")]);
    }
    cluster.handle(content(3, 0, "offer"));
    assert_eq!(cluster.seen(0), [from_joiner(9, "offer")], "the first link stays");
    cluster.assert_consistent("after both answers");
}

#[test]
fn joiner_bound_to_a_member_of_a_node_that_just_died_receives_the_end() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[101]));
    cluster.seen.clear();
    cluster.start(connect(0, &[]));
    let (_, bound) = cluster.step(0);
    cluster.node_died(0, 1);
    cluster.reply(0, Ok(bound));
    assert_eq!(cluster.seen(0), [answer(false), from_member(0, "")]);
    assert!(cluster.nodes[0].stand_ins.is_empty() && cluster.released.contains(&link(0)));
}

#[test]
fn node_that_died_twice_is_stored_once() {
    let mut cluster = two_nodes([0]);
    (0..3).for_each(|_| cluster.node_died(0, 1));
    assert_eq!(cluster.nodes[0].dead.len(), 1);
}

#[test]
fn records_about_a_link_with_the_same_id_and_the_other_side_have_no_effect() {
    let mut cluster = two_nodes(0..4);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.handle(connect(2, &[]));
    cluster.seen.clear();
    // Peer 2 is bound to peer 1, and at once to peer 0 again. Peer 3 is bound to peer 0 over the same id as peer 2.
    for (new_link, peer, node) in [(link(9), 2, 0), (link(8), 2, 0), (link(9), 3, 1)] {
        cluster.start(connect_over(new_link, peer, &[]));
        let (_, list) = cluster.step(node);
        cluster.reply(node, Ok(list));
    }
    cluster.settle();
    cluster.handle(content(3, 0, "offer"));
    assert_eq!((cluster.seen(3), cluster.seen(0)), (vec![answer(false)], vec![from_joiner(9, "offer")]));
    cluster.assert_consistent("after both binds");
}

#[test]
fn record_of_a_node_without_an_end_of_the_link_has_no_effect() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.seen.clear();
    for (to, side) in [(0, Side::Joiner), (1, Side::Member)] {
        cluster.receive(7, to, Record::End { group: tag(), link: link(1), side });
    }
    assert!(cluster.seen.is_empty());
    cluster.assert_consistent("after the records");
}
