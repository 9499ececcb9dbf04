//! One test for each rule about steps that are late or lost, and about members that the engine has lost.

use super::*;
use crate::cluster::Entry;
use crate::cluster::memory::engine::Engine;

#[test]
fn members_that_a_full_list_has_lost_are_closed() {
    let mut cluster = two_nodes([0, 1, 2, 3]);
    cluster.set_max_members(2);
    cluster.handle(connect(1, &[]));
    let snapshot = cluster.engine.clone();
    cluster.handle(connect(0, &[101]));
    cluster.engine = snapshot;
    // The engine lost peer 0, and peer 3 took the last place.
    cluster.look(1);
    cluster.handle(connect(3, &[101]));
    cluster.seen.clear();
    cluster.nodes[0].look();
    for _ in 0..10 {
        let Some(step) = cluster.next_step(0) else { break };
        let list = cluster.engine.step(tag(), &step, Duration::ZERO);
        cluster.reply(0, Ok(list));
    }
    assert_eq!(cluster.seen(0), [FULL]);
    assert!(cluster.next_step(0).is_none(), "the node does not try again");
    cluster.handle(connect(2, &[]));
    assert_eq!(cluster.seen(2), [answer(false)]);
}

#[test]
fn restored_entry_of_a_peer_that_has_left_is_removed_and_counted() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[101]));
    let snapshot = cluster.engine.clone();
    cluster.handle(Event::Leave { peer: PeerId(0) });
    assert_eq!(cluster.nodes[0].take_repairs().removed, 0);
    cluster.engine = snapshot;
    cluster.handle(connect(2, &[]));
    assert_eq!(cluster.listed(), [(1, 101)]);
    assert_eq!(cluster.nodes[0].take_repairs().removed, 1);
}

#[test]
fn members_that_return_to_a_list_with_some_room_fill_it_in_their_order() {
    let mut cluster = two_nodes([0, 1, 2, 4]);
    cluster.set_max_members(4);
    cluster.handle(connect(1, &[]));
    let snapshot = cluster.engine.clone();
    [4, 2, 0].iter().for_each(|&peer| cluster.handle(connect(peer, &[101])));
    cluster.engine = snapshot;
    cluster.nodes[0].rules.max_members = 3;
    cluster.seen.clear();
    cluster.look(0);
    assert_eq!(cluster.listed(), [(1, 101), (4, 104), (2, 102)]);
    assert_eq!((cluster.seen(0), cluster.seen(2), cluster.seen(4)), (vec![FULL], vec![], vec![]));
}

#[test]
fn id_that_a_late_request_has_set_is_corrected() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.look(0);
    cluster.start(connect(0, &[101]));
    let late = cluster.next_step(0).expect("a step");
    cluster.reply(0, Err(OutcomeUnknown));
    cluster.settle();
    cluster.handle(rename(0, 777, &[101]));
    assert_eq!(cluster.listed(), [(1, 101), (0, 777)]);
    cluster.engine.step(tag(), &late, Duration::ZERO);
    assert_eq!(cluster.listed(), [(1, 101), (0, 100)], "the late request has the earlier id");
    cluster.look(0);
    assert_eq!(cluster.listed(), [(1, 101), (0, 777)]);
}

#[test]
fn entry_that_a_late_request_has_added_is_removed_when_a_joiner_is_bound_to_it() {
    let mut cluster = two_nodes([0, 1, 3]);
    cluster.handle(connect(1, &[]));
    cluster.look(0);
    cluster.start(connect(0, &[101]));
    let late = cluster.next_step(0).expect("a step");
    cluster.reply(0, Err(OutcomeUnknown));
    cluster.handle(Event::Leave { peer: PeerId(0) });
    cluster.engine.step(tag(), &late, Duration::ZERO);
    assert_eq!(cluster.listed(), [(1, 101), (0, 100)]);
    assert!(cluster.nodes[0].is_idle());
    (0..2).for_each(|nth| cluster.handle(connect_over(link(nth), 3, &[])));
    assert_eq!(cluster.seen(3), [answer(false), answer(false), from_member(1, "")]);
    assert_eq!(cluster.listed(), [(1, 101)]);
}

#[test]
fn member_that_another_node_knows_from_before_its_step_is_not_closed() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    // A bind from the time when peer 0 was a member before.
    cluster.start(connect(0, &[101]));
    cluster.receive(1, 0, bind_record(link(9), 1, 0));
    cluster.next_step(0).expect("a step");
    cluster.reply(0, Err(OutcomeUnknown));
    cluster.settle();
    assert_eq!(cluster.seen(0), [answer(true)]);
}

#[test]
fn member_that_the_engine_lost_during_its_connect_returns() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[101]));
    cluster.seen.clear();
    cluster.start(rename(0, 777, &[101]));
    cluster.next_step(0).expect("a step");
    cluster.receive(1, 0, Record::Look { group: tag(), member: PeerId(0) });
    cluster.engine.wipe();
    cluster.reply(0, Err(OutcomeUnknown));
    cluster.settle();
    assert_eq!(cluster.seen(0), [answer(true)]);
    cluster.look(1);
    cluster.assert_consistent("after the wipe");
}

#[test]
fn entry_that_was_added_and_removed_before_the_reply_closes_the_peer() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.start(connect(0, &[101]));
    cluster.next_step(0).expect("a step");
    cluster.receive(1, 0, Record::Look { group: tag(), member: PeerId(0) });
    cluster.reply(0, Err(OutcomeUnknown));
    cluster.settle();
    assert_eq!(cluster.seen(0), [CLOSED]);
    assert_eq!(cluster.released, [link(1), link(0)]);
}

#[test]
fn search_finds_a_member_at_a_position_that_the_engine_assigned_again() {
    let mut cluster = two_nodes([0, 1, 2, 3, 5, 7]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[101]));
    let snapshot: Engine = cluster.engine.clone();
    cluster.handle(connect(3, &[101]));
    (0..3).for_each(|nth| cluster.handle(connect_over(link(90 + nth), 2, &[])));
    // The engine loses peer 3, which leaves. Peers 5 and 7 get positions from its position on.
    cluster.engine = snapshot;
    cluster.handle(Event::Leave { peer: PeerId(3) });
    cluster.look(0);
    cluster.handle(connect(5, &[101]));
    cluster.look(0);
    cluster.handle(connect(7, &[101]));
    for (nth, peer) in (10..).zip([5, 7]) {
        cluster.handle(connect_over(link(nth), 2, &[]));
        cluster.handle(content(2, 0, "offer"));
        assert_eq!(cluster.seen(peer).last(), Some(&from_joiner(nth, "offer")), "bound to {peer}");
    }
}

#[test]
fn positions_that_no_engine_assigns_do_no_harm() {
    for position in [0, u64::MAX] {
        let mut cluster = two_nodes([0, 2]);
        let (token, favored) = (Token { node: NodeId(1), peer: PeerId(1) }, false);
        let entry = Entry { token, position, id: MemberId(1), favored, since: Duration::ZERO };
        let version = crate::cluster::Version { count: position, nonce: 1, lineage: 1 };
        let (result, now) = (crate::cluster::StepResult::ConditionFailed, Duration::MAX);
        let list = MemberList { result, version: Some(version), entries: Some(vec![entry]), now };
        for nth in 0..3 {
            cluster.start(connect_over(link(nth), 0, &[]));
            for _ in 0..3 {
                if cluster.next_step(0).is_some() {
                    cluster.reply(0, Ok(list.clone()));
                }
            }
        }
    }
}

#[test]
fn rename_whose_request_was_lost_is_not_answered_before_it_is_applied() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[101]));
    cluster.seen.clear();
    cluster.start(rename(0, 777, &[101]));
    cluster.next_step(0).expect("a step");
    cluster.reply(0, Err(OutcomeUnknown));
    let (_, list) = cluster.step(0);
    cluster.reply(0, Ok(list));
    assert_eq!(cluster.seen(0), [], "the list has the earlier id");
    cluster.settle();
    assert_eq!((cluster.seen(0), cluster.listed()), (vec![answer(true)], vec![(1, 101), (0, 777)]));
}

#[test]
fn member_does_not_return_to_a_list_that_was_founded_anew_meanwhile() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.engine.wipe();
    cluster.nodes[0].look();
    let (_, absent) = cluster.step(0);
    cluster.reply(0, Ok(absent));
    let request = cluster.next_step(0).expect("a step that puts the member back");
    cluster.handle(connect(1, &[]));
    let list = cluster.engine.step(tag(), &request, Duration::ZERO);
    cluster.reply(0, Ok(list));
    cluster.settle();
    assert_eq!(cluster.seen(0), [answer(true), CLOSED]);
    assert_eq!(cluster.listed(), [(1, 101)]);
}

#[test]
fn entry_that_a_dead_node_adds_is_removed_at_the_next_look() {
    let mut cluster = two_nodes([0, 1]);
    cluster.node_died(0, 1);
    cluster.handle(connect(1, &[]));
    assert_eq!(cluster.listed(), [(1, 101)]);
    cluster.look(0);
    assert_eq!(cluster.listed(), []);
}
