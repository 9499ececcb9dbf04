//! One test for each rule about decisions across nodes; those about links are in `links`, and the others
//! about rare orders of events in `races`, `late` and `leaves`.

mod late;
mod leaves;
mod links;
mod races;
mod upkeep;

use super::*;
use crate::cluster::{Change, Condition};

/// Two nodes. Peers with even numbers are connected to node 0, the others to node 1.
fn two_nodes(peers: impl IntoIterator<Item = u64>) -> Cluster {
    let mut cluster = Cluster::new(2);
    for peer in peers.into_iter().map(PeerId) {
        cluster.handle(Event::Join { peer, favored: false });
    }
    cluster
}

fn link(peer: u64) -> LinkId {
    LinkId::new(1000 + peer as u32).expect("31 bits")
}

/// A connect with 100 + peer as the id, and the link of the peer as the new link.
fn connect(peer: u64, named: &[u32]) -> Event {
    connect_over(link(peer), peer, named)
}

fn connect_over(new_link: LinkId, peer: u64, named: &[u32]) -> Event {
    let members = named.iter().copied().map(MemberId).collect();
    let (id, now) = (MemberId(100 + peer as u32), Duration::ZERO);
    Event::Connect { peer: PeerId(peer), id, members, new_link, now }
}

fn content(peer: u64, recipient: u32, data: &'static str) -> Event {
    Event::Content { peer: PeerId(peer), recipient, last: false, data: data.into() }
}

fn answer(member: bool) -> Seen {
    Seen::Message(Message::Connected(member))
}

fn from_joiner(joiner: u64, data: &'static str) -> Seen {
    Seen::Message(Message::from_joiner(link(joiner), data.into()))
}

fn from_member(joiner: u64, data: &'static str) -> Seen {
    Seen::Message(Message::from_member(link(joiner), data.into()))
}

impl Cluster {
    /// Returns what a peer has observed since the last call.
    fn seen(&mut self, peer: u64) -> Vec<Seen> {
        self.seen.remove(&PeerId(peer)).unwrap_or_default()
    }

    fn set_max_members(&mut self, max: usize) {
        self.nodes.iter_mut().for_each(|group| group.rules.max_members = max);
    }

    /// Lets a node read the list.
    fn look(&mut self, node: usize) {
        self.nodes[node].look();
        self.settle();
    }

    /// Applies the next step of a node at the engine, without delivering the reply.
    fn step(&mut self, node: usize) -> (Step, MemberList) {
        let step = self.next_step(node).expect("the node has something to ask");
        let list = self.engine.step(tag(), &step, Duration::ZERO);
        (step, list)
    }

    /// Applies the next step of a node at the engine, and loses the reply.
    fn step_and_lose_reply(&mut self, node: usize) {
        self.step(node);
        self.reply(node, Err(OutcomeUnknown));
    }
}

const CLOSED: Seen = Seen::Closed(CloseCause::Evicted);
const FULL: Seen = Seen::Closed(CloseCause::GroupFull);
const OVERLOADED: Seen = Seen::Closed(CloseCause::TooManyHeldBytes);

impl Cluster {
    /// Passes a record to a node, without the queue of records.
    fn receive(&mut self, from: u64, to: usize, record: Record) {
        let (stand_in, mut out) = (self.stand_in(), Vec::new());
        self.nodes[to].receive(NodeId(from), record, stand_in, &mut out);
        self.apply(to, out);
    }

    fn node_died(&mut self, node: usize, died: u64) {
        let mut out = Vec::new();
        let dead = self.nodes[node].dead.iter().copied().chain([NodeId(died)]).collect();
        self.nodes[node].node_died(NodeId(died), Arc::new(dead), &mut out);
        self.apply(node, out);
    }

    /// The list in the engine, in the order of positions.
    fn listed(&mut self) -> Vec<(u64, u32)> {
        let changes = vec![];
        let (condition, nonce, lineage, max_members) = (Condition::Always, 0, 0, 0);
        let read = Step { seen: None, condition, changes, nonce, lineage, max_members };
        let mut entries = self.engine.step(tag(), &read, Duration::ZERO).entries.unwrap_or_default();
        entries.sort_unstable_by_key(|entry| entry.position);
        entries.into_iter().map(|entry| (entry.token.peer.0, entry.id.0)).collect()
    }

    /// Sends content over `link` to a local peer of node 0 until it is closed.
    fn overflow(&mut self, peer: u64) {
        for _ in 0..2 {
            let data = vec![0; RULES.max_held_bytes * 2 / 3].into();
            self.start(Event::Content { peer: PeerId(peer), recipient: 0, last: false, data });
        }
    }
}

fn rename(peer: u64, id: u32, named: &[u32]) -> Event {
    let members = named.iter().copied().map(MemberId).collect();
    let now = Duration::ZERO;
    Event::Connect { peer: PeerId(peer), id: MemberId(id), members, new_link: link(peer + 50), now }
}

fn bind_record(link: LinkId, joiner: u64, member: u64) -> Record {
    let (joiner, member, member_id) = (PeerId(joiner), PeerId(member), MemberId(100 + member as u32));
    Record::Bind { group: tag(), link, joiner, member, member_id }
}

#[test]
fn of_two_first_peers_one_becomes_the_member_and_the_other_is_bound_to_it() {
    let mut cluster = two_nodes([0, 1]);
    cluster.start(connect(0, &[]));
    cluster.start(connect(1, &[]));
    let (_, first) = cluster.step(0);
    let (_, second) = cluster.step(1);
    cluster.reply(1, Ok(second));
    cluster.reply(0, Ok(first));
    cluster.settle();
    assert_eq!((cluster.seen(0), cluster.seen(1)), (vec![answer(true)], vec![answer(false)]));
    cluster.handle(content(1, 0, "offer"));
    cluster.handle(content(0, link(1).value(), "answer"));
    assert_eq!((cluster.seen(0), cluster.seen(1)), (vec![from_joiner(1, "offer")], vec![from_member(1, "answer")]));
}

#[test]
fn content_never_precedes_the_answer() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.look(1);
    cluster.seen.clear();
    // The engine makes peer 1 a member. Before its node learns of it, peer 2 is bound to peer 1 and sends.
    cluster.start(connect(1, &[100]));
    let (_, reply) = cluster.step(1);
    cluster.handle(Event::Leave { peer: PeerId(0) });
    cluster.start(connect(2, &[]));
    let (_, list) = cluster.step(0);
    cluster.reply(0, Ok(list));
    cluster.start(content(2, 0, "offer"));
    (0..2).for_each(|_| cluster.deliver(NodeId(0), NodeId(1)));
    assert_eq!(cluster.seen(1), [], "the messages wait");
    cluster.reply(1, Ok(reply));
    cluster.settle();
    assert_eq!(cluster.seen(1), [answer(true), from_joiner(2, "offer")]);
}

#[test]
fn messages_that_wait_for_an_answer_are_bounded() {
    let mut cluster = two_nodes([0, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[]));
    cluster.start(connect(0, &[]));
    let data = || vec![0; RULES.max_held_bytes / 2].into();
    for _ in 0..2 {
        cluster.start(Event::Content { peer: PeerId(2), recipient: 0, last: false, data: data() });
    }
    assert_eq!(cluster.seen(0).last(), Some(&OVERLOADED));
}

#[test]
fn lost_race_leaves_the_search_unchanged() {
    let mut cluster = two_nodes([0, 1, 2, 3]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(2, &[100]));
    // Peer 2 wants to lose its membership and to be bound to peer 0, but the list changes first.
    cluster.start(connect(2, &[]));
    let request = cluster.next_step(0).expect("a step");
    cluster.handle(connect(1, &[100]));
    let list = cluster.engine.step(tag(), &request, Duration::ZERO);
    assert_eq!(list.result, crate::cluster::StepResult::ConditionFailed);
    cluster.reply(0, Ok(list));
    cluster.settle();
    cluster.seen.clear();
    // It was bound to peer 0 once, so peer 1 comes next.
    cluster.handle(connect_over(link(9), 2, &[]));
    cluster.handle(content(2, 0, "offer"));
    assert_eq!(cluster.seen(1), [from_joiner(9, "offer")]);
}

#[test]
fn each_new_member_of_a_storm_needs_one_step() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    for peer in 2..100 {
        cluster.start(Event::Join { peer: PeerId(peer), favored: false });
        cluster.start(connect(peer, &[100]));
    }
    let mut steps = 0;
    let mut busy = true;
    while std::mem::take(&mut busy) {
        // Both nodes send before either receives its reply.
        let calls: Vec<_> = (0..2).filter_map(|node| Some((node, cluster.next_step(node)?))).collect();
        for (node, step) in calls {
            let list = cluster.engine.step(tag(), &step, Duration::ZERO);
            cluster.reply(node, Ok(list));
            (steps, busy) = (steps + 1, true);
        }
    }
    assert_eq!(steps, 98);
    assert!((2..100).all(|peer| cluster.seen(peer) == [answer(true)]));
}

#[test]
fn member_of_another_node_is_evicted() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(1, &[]));
    assert_eq!(cluster.seen(1), [answer(false), answer(true)]);
    assert_eq!(cluster.seen(0), [answer(true), Seen::Closed(CloseCause::Evicted)]);
}

#[test]
fn evicted_member_whose_hint_was_lost_is_closed_at_the_next_look() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.start(connect(1, &[]));
    let (_, evicted) = cluster.step(1);
    cluster.reply(1, Ok(evicted));
    cluster.records.clear();
    cluster.settle();
    assert_eq!(cluster.seen(0), [answer(true)]);
    cluster.look(0);
    assert_eq!(cluster.seen(0), [Seen::Closed(CloseCause::Evicted)]);
}

#[test]
fn list_that_the_engine_lost_is_restored_in_its_order() {
    let mut cluster = two_nodes(0..4);
    cluster.handle(connect(0, &[]));
    (1..3).for_each(|peer| cluster.handle(connect(peer, &[100])));
    cluster.seen.clear();
    cluster.engine.wipe();
    // Node 1 audits first, and founds the list again with the old lineage.
    for node in [1, 0] {
        cluster.look(node);
    }
    cluster.assert_consistent("after the audits");
    for (nth, peer) in (100..).zip([0, 1, 2, 0]) {
        cluster.handle(connect_over(link(nth), 3, &[]));
        cluster.handle(content(3, 0, "offer"));
        assert_eq!(cluster.seen(peer).last(), Some(&from_joiner(nth, "offer")), "bound to {peer}");
    }
}

#[test]
fn member_of_a_list_that_was_founded_anew_is_closed() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.engine.wipe();
    cluster.handle(connect(1, &[]));
    assert_eq!(cluster.seen(1), [answer(true)], "a new first member");
    cluster.look(0);
    assert_eq!(cluster.seen(0), [answer(true), Seen::Closed(CloseCause::Evicted)]);
}

#[test]
fn connect_whose_reply_was_lost_gets_one_answer() {
    // (what happens before, the connect, the answer)
    let cases: [(&[Event], Event, bool); 5] = [
        (&[], connect(0, &[]), true),
        (&[connect(1, &[])], connect(0, &[101]), true),
        (&[connect(1, &[])], connect(0, &[]), false),
        (&[connect(1, &[]), connect(0, &[])], connect(0, &[]), true),
        (&[connect(1, &[]), connect(0, &[101])], connect(0, &[]), false),
    ];
    for (before, event, answered) in cases {
        let mut cluster = two_nodes([0, 1]);
        before.iter().for_each(|event| cluster.handle(event.clone()));
        cluster.seen.clear();
        cluster.start(event.clone());
        // The look before a change, and the change.
        for _ in 0..2 {
            if !cluster.nodes[0].jobs.is_empty() {
                cluster.step_and_lose_reply(0);
            }
        }
        cluster.settle();
        assert_eq!(cluster.seen(0), [answer(answered)], "{before:?}, {event:?}");
        cluster.assert_consistent(&format!("{before:?}, {event:?}"));
    }
}

#[test]
fn member_that_leaves_before_its_reply_leaves_no_entry() {
    let mut cluster = two_nodes([0]);
    cluster.start(connect(0, &[]));
    let (_, list) = cluster.step(0);
    cluster.start(Event::Leave { peer: PeerId(0) });
    cluster.reply(0, Ok(list));
    cluster.settle();
    assert_eq!(cluster.engine.key_counts(Duration::ZERO), (0, 0));
    assert_eq!(cluster.released, [link(0)]);
}

#[test]
fn full_list_closes_the_peer_that_would_exceed_it() {
    let mut cluster = two_nodes([0, 1]);
    cluster.set_max_members(1);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    assert_eq!(cluster.seen(1), [FULL]);
}
