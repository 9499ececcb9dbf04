//! Two nodes that follow the rules for gaps have the same links in the end, and no link loses content silently.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::cluster::records::Side;
use crate::protocol::{LinkId, MemberId};

const TICK: Duration = Duration::from_millis(50);

/// The node of the joiner, and the link id.
type Key = (NodeId, u32);

/// The number of contents that one end of a link has sent and received.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    sent: u8,
    received: u8,
}

/// A node with its links to the other one.
struct Node {
    me: NodeId,
    other: NodeId,
    links: BTreeMap<Key, Half>,
    bound: u32,
    inbox: Inbox,
    outbound: Outbound,
    resets: u32,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Nothing,
    Bind,
    /// Sends content along one of the links.
    Data(usize),
    /// Ends one of the links.
    End(usize),
}

/// What one node does in a tick, and what happens to its batch.
#[derive(Clone, Copy, Debug)]
struct Step {
    op: Op,
    lost: bool,
    /// The number of ticks until the batch arrives.
    latency: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![
        2 => Just(Op::Nothing),
        2 => Just(Op::Bind),
        4 => any::<usize>().prop_map(Op::Data),
        1 => any::<usize>().prop_map(Op::End),
    ];
    (op, prop::bool::weighted(0.15), 0..6_usize).prop_map(|(op, lost, latency)| Step { op, lost, latency })
}

impl Node {
    fn new(me: NodeId, other: NodeId, max_bytes: usize) -> Self {
        let (inbox, outbound) = (Inbox::default(), Outbound::new(me, max_bytes));
        Self { me, other, links: BTreeMap::new(), bound: 0, inbox, outbound, resets: 0 }
    }

    /// The side of this node.
    fn side(&self, (joiner, _): Key) -> Side {
        if joiner == self.me { Side::Joiner } else { Side::Member }
    }

    fn push(&mut self, record: &Record) {
        if self.outbound.push(record).is_err() {
            self.links.clear();
        }
    }

    fn end(&mut self, key: Key) {
        self.push(&Record::End { group: GROUP, link: link(key), side: self.side(key) });
    }

    fn act(&mut self, op: Op) {
        let nth = |links: &BTreeMap<Key, Half>, n: usize| links.keys().nth(n % links.len().max(1)).copied();
        match op {
            Op::Nothing => {}
            Op::Bind => {
                self.bound += 1;
                let key = (self.me, self.bound);
                self.links.insert(key, Half::default());
                let (joiner, member, member_id) = (PeerId(1), PeerId(2), MemberId(0));
                self.push(&Record::Bind { group: GROUP, link: link(key), joiner, member, member_id });
            }
            Op::Data(n) => {
                let Some(key) = nth(&self.links, n) else { return };
                let half = self.links.get_mut(&key).expect("the link exists");
                let bytes = Bytes::copy_from_slice(&[half.sent]);
                half.sent += 1;
                let side = self.side(key);
                self.push(&Record::Data { group: GROUP, link: link(key), side, last: false, bytes });
            }
            Op::End(n) => {
                let Some(key) = nth(&self.links, n) else { return };
                self.links.remove(&key);
                self.end(key);
            }
        }
    }

    fn receive(&mut self, batch: Bytes) {
        let Received { missed, records } = self.inbox.receive(decode(batch));
        if missed > 0 {
            self.links.clear();
        }
        for record in records {
            // The node of the joiner follows from the side that the record comes from.
            let joiner = |side| if side == Side::Joiner { self.other } else { self.me };
            match record {
                Record::Bind { link, .. } => _ = self.links.insert((self.other, link.value()), Half::default()),
                Record::Data { link, side, bytes, .. } => {
                    if let Some(half) = self.links.get_mut(&(joiner(side), link.value())) {
                        assert_eq!(bytes[..], [half.received], "content was lost in a link that goes on");
                        half.received += 1;
                    }
                }
                Record::End { link, side, .. } => _ = self.links.remove(&(joiner(side), link.value())),
                Record::Reset => {
                    let (me, links) = (self.me, std::mem::take(&mut self.links));
                    links.into_keys().filter(|(joiner, _)| *joiner == me).for_each(|key| self.end(key));
                }
                other => panic!("{other:?} was not sent"),
            }
        }
    }

    fn send_reset(&mut self, now: Duration) {
        if self.inbox.take_reset(now) {
            self.links.clear();
            self.push(&Record::Reset);
            self.resets += 1;
        }
    }
}

const GROUP: GroupTag = GroupTag::from_bytes([0; 16]);

fn link((_, id): Key) -> LinkId {
    LinkId::new(id).expect("a small number, not 0")
}

/// Two nodes and the batches on their way from each, with the ticks at which they arrive.
struct Pair {
    nodes: [Node; 2],
    on_the_way: [VecDeque<(usize, Bytes)>; 2],
    tick: usize,
    lost: usize,
}

impl Pair {
    fn new(max_bytes: usize) -> Self {
        let (a, b) = (NodeId(1), NodeId(2));
        let nodes = [Node::new(a, b, max_bytes), Node::new(b, a, max_bytes)];
        Self { nodes, on_the_way: Default::default(), tick: 0, lost: 0 }
    }

    fn step(&mut self, steps: [Step; 2]) {
        self.tick += 1;
        let now = self.tick as u32 * TICK;
        for (from, Step { op, lost, latency }) in steps.into_iter().enumerate() {
            let node = &mut self.nodes[from];
            node.act(op);
            node.send_reset(now);
            node.outbound.sent();
            if let Some(batch) = node.outbound.next_batch(now) {
                if lost {
                    self.lost += 1;
                } else {
                    self.on_the_way[from].push_back((self.tick + latency, batch));
                }
            }
            // A batch does not overtake another one.
            while self.on_the_way[from].front().is_some_and(|(at, _)| *at <= self.tick) {
                let (_, batch) = self.on_the_way[from].pop_front().expect("it is not empty");
                self.nodes[1 - from].receive(batch);
            }
        }
    }

    fn run(&mut self, ticks: usize) {
        (0..ticks).for_each(|_| self.step([Step { op: Op::Nothing, lost: false, latency: 0 }; 2]));
    }

    fn links(&self) -> [Vec<Key>; 2] {
        [0, 1].map(|node| self.nodes[node].links.keys().copied().collect())
    }

    fn resets(&self) -> [u32; 2] {
        [0, 1].map(|node| self.nodes[node].resets)
    }
}

/// Three seconds: SYNCs, and RESETs that were delayed.
const SETTLE: usize = 60;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_nodes_have_the_same_links_after_any_losses(
        steps in vec([step(), step()], 1..80),
        max_bytes in prop_oneof![Just(MAX_BATCH_BYTES), 100..400_usize],
    ) {
        let mut pair = Pair::new(max_bytes);
        steps.iter().for_each(|&steps| pair.step(steps));
        pair.run(SETTLE);
        let [a, b] = pair.links();
        prop_assert_eq!(a, b);

        let resets = pair.resets();
        let max = steps.len() as u32 / 10 + 3;
        prop_assert!(resets.iter().all(|&count| count <= max), "{:?} RESETs in {} ticks", resets, steps.len());
        let bind = Step { op: Op::Bind, lost: false, latency: 3 };
        pair.step([bind; 2]);
        pair.run(SETTLE);
        prop_assert_eq!(pair.resets(), resets, "a RESET was answered with a RESET");
        let [a, b] = pair.links();
        prop_assert!(a.len() >= 2 && a == b, "{:?} and {:?}", a, b);
    }

    #[test]
    fn no_link_ends_if_no_batch_is_lost(steps in vec([step(), step()], 1..80)) {
        let mut pair = Pair::new(MAX_BATCH_BYTES);
        for steps in steps {
            let reliable = |Step { op, latency, .. }| match op {
                Op::End(_) => Step { op: Op::Bind, lost: false, latency },
                op => Step { op, lost: false, latency },
            };
            pair.step(steps.map(reliable));
        }
        pair.run(SETTLE);
        let bound = pair.nodes[0].bound + pair.nodes[1].bound;
        let [a, b] = pair.links();
        prop_assert_eq!((a.len(), b.len()), (bound as usize, bound as usize));
        prop_assert_eq!((pair.lost, pair.resets()), (0, [0, 0]));
    }
}

#[test]
fn two_nodes_that_both_saw_a_gap_send_one_reset_each() {
    let mut pair = Pair::new(MAX_BATCH_BYTES);
    let bind = |lost| [Step { op: Op::Bind, lost, latency: 0 }; 2];
    pair.step(bind(false));
    pair.step(bind(true));
    pair.step(bind(false));
    pair.run(20 * SETTLE);
    assert_eq!(pair.resets(), [1, 1]);
    assert_eq!(pair.links(), [vec![], vec![]]);
}

#[test]
fn lost_last_record_ends_the_links_within_two_seconds() {
    let mut pair = Pair::new(MAX_BATCH_BYTES);
    let idle = Step { op: Op::Nothing, lost: false, latency: 0 };
    pair.step([Step { op: Op::Bind, ..idle }, idle]);
    pair.step([Step { op: Op::Data(0), lost: true, ..idle }, idle]);
    pair.run(40);
    assert_eq!(pair.links(), [vec![], vec![]]);
}
