//! A simulated group for tests: meshes on a virtual clock, the hub's real reducer, and a network without WebRTC.

mod network;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;
use sigver::protocol::{self, Message};

use super::config;
use crate::event::{Event, State};
use crate::mesh::{Config, ConnectionId, Mesh};

const LATENCY: Duration = Duration::from_millis(10);

pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) nodes: Vec<Node>,
    queue: BTreeMap<(Instant, u64), Delivery>,
    next: u64,
    hub: protocol::Group,
    hub_up: bool,
    next_link: u32,
    /// Pairs of nodes whose packets are lost.
    blocked: BTreeSet<(usize, usize)>,
    /// Pairs of nodes whose ICE never connects.
    pub(crate) unreachable: BTreeSet<(usize, usize)>,
}

pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    byte: u8,
    pub(crate) alive: bool,
    pub(crate) events: Vec<Event>,
    /// The relayed signals that it sent, as (recipient, reject).
    pub(crate) relayed: Vec<Value>,
    /// What it asked the hub.
    pub(crate) connects: Vec<Vec<u32>>,
    pub(crate) restarts: usize,
    links: HashMap<ConnectionId, Link>,
    on_hub: Option<protocol::PeerId>,
}

/// The engine of one connection.
#[derive(Clone, Copy, Default)]
struct Link {
    remote: Option<(usize, ConnectionId)>,
    open: bool,
    disconnected: bool,
}

enum Delivery {
    Opened(usize, ConnectionId),
    Control(usize, ConnectionId, String),
    Failed(usize, ConnectionId),
    Hub(usize, protocol::PeerId, Message),
    HubClosed(usize, protocol::PeerId, u16),
    OpenHub(usize),
    Ice(usize, ConnectionId, bool),
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            next: 0,
            hub: protocol::Group::new(),
            hub_up: true,
            next_link: 1,
            blocked: BTreeSet::new(),
            unreachable: BTreeSet::new(),
        }
    }

    /// A group of this many peers that are all connected.
    pub(crate) fn with_peers(count: usize) -> Self {
        let mut world = Self::new();
        for _ in 0..count {
            world.add(config());
        }
        world.run(Duration::from_secs(20));
        assert!(world.is_meshed(), "{}", world.describe());
        world
    }

    pub(crate) fn add(&mut self, config: Config) -> usize {
        let index = self.nodes.len();
        let byte = u8::try_from(index + 1).expect("few nodes");
        let node = Node {
            mesh: Mesh::new(config, u64::from(byte), self.now),
            byte,
            alive: true,
            events: Vec::new(),
            relayed: Vec::new(),
            connects: Vec::new(),
            restarts: 0,
            links: HashMap::new(),
            on_hub: None,
        };
        self.nodes.push(node);
        self.settle();
        index
    }

    pub(crate) fn id(&self, node: usize) -> u32 {
        self.nodes[node].mesh.id()
    }

    pub(crate) fn neighbours(&self, node: usize) -> Vec<u32> {
        self.nodes[node].mesh.neighbours().iter().map(|it| it.peer).collect()
    }

    /// Whether all nodes that are alive are members and connected with each other.
    pub(crate) fn is_meshed(&self) -> bool {
        let alive: Vec<_> = (0..self.nodes.len()).filter(|&node| self.nodes[node].alive).collect();
        alive.iter().all(|&node| {
            let mut others: Vec<_> = alive.iter().filter(|&&it| it != node).map(|&it| self.id(it)).collect();
            others.sort_unstable();
            self.nodes[node].mesh.state() == State::Joined && self.neighbours(node) == others
        })
    }

    pub(crate) fn describe(&self) -> String {
        let node = |it| {
            let node: &Node = &self.nodes[it];
            format!("{}: {:?} {:?} alive {}\n", self.id(it), node.mesh.state(), self.neighbours(it), node.alive)
        };
        (0..self.nodes.len()).map(node).collect()
    }

    /// Stops a node without a `bye`. The hub notices it after 15 s.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        if let Some(peer) = self.nodes[node].on_hub.take() {
            self.deliver(Duration::from_secs(15), Delivery::HubClosed(usize::MAX, peer, 0));
        }
    }

    /// Loses all packets between two sets of nodes, or no longer.
    pub(crate) fn block(&mut self, one: &[usize], other: &[usize], block: bool) {
        for (&a, &b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
            let pair = (a.min(b), a.max(b));
            if block {
                self.blocked.insert(pair);
            } else {
                self.blocked.remove(&pair);
            }
            // ICE notices after 5 s, and a connection that is not blocked any longer at once.
            for (node, other) in [(a, b), (b, a)] {
                let links: Vec<_> = self.nodes[node].links.iter().map(|(&id, &link)| (id, link)).collect();
                for (id, link) in links {
                    if link.open && link.remote.is_some_and(|(it, _)| it == other) {
                        let after = if block { Duration::from_secs(5) } else { LATENCY };
                        self.deliver(after, Delivery::Ice(node, id, !block));
                    }
                }
            }
        }
    }

    pub(crate) fn stop_hub(&mut self, code: u16) {
        self.hub_up = false;
        self.hub = protocol::Group::new();
        for node in 0..self.nodes.len() {
            if let Some(peer) = self.nodes[node].on_hub {
                self.deliver(LATENCY, Delivery::HubClosed(node, peer, code));
            }
        }
    }

    pub(crate) fn start_hub(&mut self) {
        self.hub_up = true;
    }

    /// Closes the WebSocket of one node with this code.
    pub(crate) fn close_hub_of(&mut self, node: usize, code: u16) {
        let peer = self.nodes[node].on_hub.expect("the node is connected");
        self.deliver(Duration::ZERO, Delivery::HubClosed(node, peer, code));
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let queued = self.queue.keys().next().map(|&(at, _)| at);
            let alive = self.nodes.iter().filter(|node| node.alive);
            let timer = alive.filter_map(|node| node.mesh.poll_timeout()).min();
            let Some(at) = queued.into_iter().chain(timer).min().filter(|&at| at <= end) else { break };
            self.now = self.now.max(at);
            if queued.is_some_and(|queued| queued <= self.now) {
                if let Some((_, delivery)) = self.queue.pop_first() {
                    self.handle(delivery);
                }
            } else {
                let now = self.now;
                for node in self.nodes.iter_mut().filter(|node| node.alive) {
                    if node.mesh.poll_timeout().is_some_and(|at| at <= now) {
                        node.mesh.handle_timeout(now);
                        assert!(node.mesh.poll_timeout().is_none_or(|at| at > now), "the timer spins");
                    }
                }
            }
            self.settle();
        }
        self.now = end;
    }
}
