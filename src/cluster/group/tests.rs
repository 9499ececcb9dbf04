//! Several nodes over one engine, with random scripts of peers.

mod faults;
mod oracle;
mod scenarios;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::*;
use crate::cluster::memory::engine::Engine;
use crate::cluster::records::{Record, Side};
use crate::cluster::{GroupTag, MemberList, Step};
use crate::protocol::{CloseCode, Event, LinkId, MemberId};

const RULES: Rules = Rules { eviction_min_age: Duration::ZERO, max_members: 1000, max_held_bytes: 1 << 20 };

fn tag() -> GroupTag {
    GroupTag::from_bytes([7; 16])
}

/// What one peer observes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(Message),
    Closed(CloseCause),
}

/// The transcript of each peer.
type Transcripts = BTreeMap<PeerId, Vec<Seen>>;

/// The nodes of a cluster, one engine, and the records in flight from node to node.
struct Cluster {
    nodes: Vec<ClusterGroup>,
    engine: Engine,
    records: BTreeMap<(NodeId, NodeId), VecDeque<Record>>,
    seen: Transcripts,
    closing: Vec<PeerId>,
    released: Vec<LinkId>,
    next_stand_in: u64,
    random: u64,
}

impl Cluster {
    fn new(nodes: u64) -> Self {
        Self {
            nodes: (0..nodes).map(|node| ClusterGroup::new(NodeId(node), Arc::default(), tag(), RULES)).collect(),
            engine: Engine::new(10_000),
            records: BTreeMap::new(),
            seen: BTreeMap::new(),
            closing: Vec::new(),
            released: Vec::new(),
            next_stand_in: 1 << 40,
            random: 0,
        }
    }

    /// Each peer is connected to one node.
    fn node_of(&self, PeerId(peer): PeerId) -> usize {
        peer as usize % self.nodes.len()
    }

    fn stand_in(&mut self) -> PeerId {
        self.next_stand_in += 1;
        PeerId(self.next_stand_in)
    }

    /// Passes an event to the node of its peer, without sending any step.
    fn start(&mut self, event: Event) {
        let (stand_in, mut out) = (self.stand_in(), Vec::new());
        let (Event::Join { peer, .. }
        | Event::Connect { peer, .. }
        | Event::Content { peer, .. }
        | Event::Leave { peer }) = event;
        let node = self.node_of(peer);
        let group = &mut self.nodes[node];
        match event {
            Event::Join { peer, favored } => group.join(peer, favored),
            Event::Connect { peer, id, members, new_link, .. } => {
                group.connect(peer, id, members, new_link, stand_in, &mut out);
            }
            Event::Content { peer, recipient, last, data } => {
                group.content(peer, recipient, last, data, &mut out);
            }
            Event::Leave { peer } => group.leave(peer, &mut out),
        }
        self.apply(node, out);
    }

    fn apply(&mut self, node: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, message, .. } => self.seen.entry(to).or_default().push(Seen::Message(message)),
                Output::Close { peer, cause } => {
                    self.seen.entry(peer).or_default().push(Seen::Closed(cause));
                    self.closing.push(peer);
                }
                Output::ReleaseLink(link) => self.released.push(link),
                Output::Record { to, record } => {
                    self.records.entry((NodeId(node as u64), to)).or_default().push_back(record);
                }
                Output::Answered { .. } => {}
            }
        }
    }

    fn next_step(&mut self, node: usize) -> Option<Step> {
        let random = &mut self.random;
        self.nodes[node].next_step(|| {
            *random += 1;
            *random
        })
    }

    fn reply(&mut self, node: usize, reply: Result<MemberList, OutcomeUnknown>) {
        let mut out = Vec::new();
        self.nodes[node].reply(reply, &mut out);
        self.apply(node, out);
    }

    fn deliver(&mut self, from: NodeId, to: NodeId) {
        let Some(record) = self.records.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        let (stand_in, mut out) = (self.stand_in(), Vec::new());
        self.nodes[to.0 as usize].receive(from, record, stand_in, &mut out);
        self.apply(to.0 as usize, out);
    }

    /// Runs until nothing is in flight.
    fn settle(&mut self) {
        loop {
            let mut progressed = false;
            for node in 0..self.nodes.len() {
                while let Some(step) = self.next_step(node) {
                    let list = self.engine.step(tag(), &step, Duration::ZERO);
                    self.reply(node, Ok(list));
                    progressed = true;
                }
            }
            for (from, to) in self.records.keys().copied().collect::<Vec<_>>() {
                while self.records.get(&(from, to)).is_some_and(|records| !records.is_empty()) {
                    self.deliver(from, to);
                    progressed = true;
                }
            }
            if !progressed {
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.start(event);
        self.settle();
    }
}

/// A random script of a few peers with few ids.
struct Script {
    random: fastrand::Rng,
    joined: Vec<PeerId>,
    next_peer: u64,
    links: Vec<u32>,
}

impl Script {
    const PEERS: usize = 6;

    fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), joined: Vec::new(), next_peer: 0, links: Vec::new() }
    }

    fn id(&mut self) -> u32 {
        100 + self.random.u32(0..8)
    }

    fn next(&mut self) -> Event {
        let random = &mut self.random;
        if self.joined.is_empty() || (self.joined.len() < Self::PEERS && random.u8(0..6) == 0) {
            self.next_peer += 1;
            let peer = PeerId(self.next_peer);
            self.joined.push(peer);
            return Event::Join { peer, favored: random.u8(0..4) == 0 };
        }
        let peer = self.joined[random.usize(0..self.joined.len())];
        match random.u8(0..20) {
            0 => {
                self.joined.retain(|&joined| joined != peer);
                Event::Leave { peer }
            }
            1..=11 => {
                let named = self.random.usize(0..3);
                let members = (0..named).map(|_| MemberId(self.id())).collect();
                let link = 1000 + self.links.len() as u32;
                self.links.push(link);
                let new_link = LinkId::new(link).expect("31 bits");
                Event::Connect { peer, id: MemberId(self.id()), members, new_link, now: Duration::ZERO }
            }
            _ => {
                let recent = self.links.len().saturating_sub(6)..self.links.len();
                let recipient = match self.random.u8(0..4) {
                    0 => 0,
                    1 => self.id(),
                    _ if recent.is_empty() => 0,
                    _ => self.links[self.random.usize(recent)],
                };
                let last = self.random.u8(0..5) == 0;
                Event::Content { peer, recipient, last, data: vec![self.random.u8(..)].into() }
            }
        }
    }
}

impl Cluster {
    /// Checks that the list has the local members of all nodes, and that each half of a link has its other half.
    fn assert_consistent(&mut self, about: &str) {
        let read = Step {
            seen: None,
            condition: crate::cluster::Condition::Always,
            changes: vec![],
            nonce: 0,
            lineage: 0,
            max_members: 0,
        };
        let list = self.engine.step(tag(), &read, Duration::ZERO);
        let mut listed: Vec<_> = list.entries.into_iter().flatten().map(|entry| entry.token).collect();
        listed.sort_unstable();
        let mut members = Vec::new();
        for group in &self.nodes {
            let is_member = |&peer: &PeerId| group.local(peer).is_some_and(|local| local.membership.is_some());
            members.extend(group.links.all_peers().into_iter().filter(is_member).map(|peer| group.token(peer)));
            for (&link, end) in &group.stand_ins {
                let other = &self.nodes[end.token.node.0 as usize];
                let back = other.stand_ins.get(&link).unwrap_or_else(|| panic!("{about}: {link:?} has one half"));
                assert_ne!(back.side, end.side, "{about}: {link:?}");
                assert_eq!(back.token.node, group.me, "{about}: {link:?}");
                if end.side == Side::Member {
                    let [member, stand_in] = [other.links.joined(end.token.peer), group.links.joined(end.peer)];
                    assert_eq!(member.id, stand_in.id, "{about}: {link:?}: the joiner's node knows the member's id");
                }
            }
        }
        members.sort_unstable();
        assert_eq!(listed, members, "{about}: the list has the members of all nodes");
    }
}
