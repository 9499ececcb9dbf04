//! A simulated group for tests: meshes on a virtual clock, the hub's real reducer, and a network without WebRTC.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;
use sigver::client::Remote;
use sigver::protocol::{self, LinkId, MemberId, Message};

use super::{Action, Config, ConnectionId, Description, HubAction, Kind, Mesh, Reply};
use crate::event::{Close, Event, State};

const LATENCY: Duration = Duration::from_millis(10);

/// A certificate fingerprint made of one byte.
pub(crate) fn fingerprint(byte: u8) -> String {
    vec![format!("{byte:02X}"); 32].join(":")
}

pub(crate) fn sdp(byte: u8) -> String {
    format!("v=0\r\na=fingerprint:sha-256 {}\r\n", fingerprint(byte))
}

pub(crate) fn config() -> Config {
    Config { metadata: None, max_peers: 64, channels: Vec::new(), renewable_key: false }
}

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

    /// Stops a node without a goodbye. The hub notices it after 15 s.
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

    fn deliver(&mut self, after: Duration, delivery: Delivery) {
        self.next += 1;
        self.queue.insert((self.now + after, self.next), delivery);
    }

    fn handle(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Opened(node, id) => {
                if let Some(link) = self.nodes[node].links.get_mut(&id) {
                    link.open = true;
                    self.nodes[node].mesh.opened(id, now);
                }
            }
            Delivery::Control(node, id, text) => {
                let Some(link) = self.nodes[node].links.get(&id) else { return };
                let is_blocked = link.remote.is_some_and(|(other, _)| self.is_blocked(node, other));
                if self.nodes[node].alive && !is_blocked {
                    self.nodes[node].mesh.control_message(id, false, text.as_bytes(), now);
                }
            }
            Delivery::Failed(node, id) => self.nodes[node].mesh.failed(id, now),
            Delivery::Hub(node, peer, message) => {
                if self.nodes[node].on_hub != Some(peer) || !self.nodes[node].alive {
                    return;
                }
                let mesh = &mut self.nodes[node].mesh;
                match message {
                    Message::Connected(member) => mesh.hub_connected(member, now),
                    Message::Content { sender, recipient, data, .. } => {
                        let link = sender.max(recipient);
                        let from = LinkId::new(sender).map_or(Remote::Member, Remote::Joiner);
                        if data.is_empty() {
                            mesh.hub_ended(from, link, now);
                        } else {
                            mesh.hub_content(from, link, &data, now);
                        }
                    }
                    _ => {}
                }
            }
            Delivery::HubClosed(node, peer, code) => {
                if self.hub.peer(peer).is_some() {
                    self.hub_event(protocol::Event::Leave { peer });
                }
                if let Some(node) = self.nodes.get_mut(node).filter(|node| node.on_hub == Some(peer)) {
                    node.on_hub = None;
                    node.mesh.hub_closed(Some(Close::new(code, "")), false, now);
                }
            }
            Delivery::OpenHub(node) => {
                if !self.hub_up {
                    return self.nodes[node].mesh.hub_closed(None, false, now);
                }
                self.next += 1;
                let peer = protocol::PeerId(self.next);
                self.nodes[node].on_hub = Some(peer);
                self.hub_event(protocol::Event::Join { peer, favored: false });
                self.nodes[node].mesh.hub_opened(now);
            }
            Delivery::Ice(node, id, connected) => {
                let Some(&link) = self.nodes[node].links.get(&id) else { return };
                let is_blocked = link.remote.is_some_and(|(other, _)| self.is_blocked(node, other));
                if connected != is_blocked && link.disconnected == connected {
                    self.nodes[node].links.insert(id, Link { disconnected: !connected, ..link });
                    self.nodes[node].mesh.ice_state(id, connected, now);
                }
            }
        }
    }

    fn is_blocked(&self, a: usize, b: usize) -> bool {
        self.blocked.contains(&(a.min(b), a.max(b))) || !self.nodes[b].alive
    }

    fn hub_event(&mut self, event: protocol::Event) {
        let mut actions = Vec::new();
        self.hub.handle(event, &mut actions);
        for action in actions {
            match action {
                protocol::Action::Send { to, message } => {
                    if let Some(node) = self.nodes.iter().position(|node| node.on_hub == Some(to)) {
                        self.deliver(LATENCY, Delivery::Hub(node, to, message));
                    }
                }
                protocol::Action::Close { peer, code } => {
                    if let Some(node) = self.nodes.iter().position(|node| node.on_hub == Some(peer)) {
                        self.deliver(LATENCY, Delivery::HubClosed(node, peer, code.as_u16()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Carries out the actions of all nodes.
    pub(crate) fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            while let Some(action) = self.nodes[node].mesh.poll_action() {
                if self.nodes[node].alive {
                    self.carry_out(node, action);
                }
            }
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Connect { connection, offer } => {
                self.nodes[node].links.insert(connection, Link::default());
                if offer {
                    self.describe_to(node, connection, Kind::Offer, Reply::Route);
                }
            }
            Action::Accept { connection, description, reply } => {
                let remote = read_sdp(&description.sdp);
                let link = self.nodes[node].links.get_mut(&connection).expect("a connection");
                link.remote = Some(remote);
                let is_open = link.open;
                if description.kind == Kind::Offer {
                    self.describe_to(node, connection, Kind::Answer, reply);
                } else if !is_open && !self.unreachable.contains(&pair(node, remote.0)) {
                    self.deliver(LATENCY, Delivery::Opened(node, connection));
                    self.deliver(LATENCY, Delivery::Opened(remote.0, remote.1));
                }
                if is_open {
                    self.deliver(LATENCY, Delivery::Ice(node, connection, true));
                }
            }
            Action::RestartIce { connection, reply } => {
                self.nodes[node].restarts += 1;
                self.describe_to(node, connection, Kind::Offer, reply);
            }
            Action::SendControl { connection, text } => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                if let Some(relay) = message.get("relay") {
                    self.nodes[node].relayed.push(relay.clone());
                }
                let link = self.nodes[node].links[&connection];
                if let Some((other, id)) = link.remote.filter(|_| link.open) {
                    self.deliver(LATENCY, Delivery::Control(other, id, text));
                }
            }
            Action::Close { connection } => {
                let link = self.nodes[node].links.remove(&connection).expect("closed once");
                if let Some((other, id)) = link.remote
                    && !self.is_blocked(node, other)
                {
                    self.deliver(LATENCY, Delivery::Failed(other, id));
                }
            }
            Action::AddCandidate { .. } | Action::Joined { .. } => {}
            Action::Event(event) => self.nodes[node].events.push(event),
            Action::Hub(HubAction::Open) => self.deliver(LATENCY, Delivery::OpenHub(node)),
            Action::Hub(HubAction::Close) => {
                if let Some(peer) = self.nodes[node].on_hub.take() {
                    self.hub_event(protocol::Event::Leave { peer });
                }
            }
            Action::Hub(HubAction::Connect { id, members }) => {
                self.nodes[node].connects.push(members.clone());
                self.next_link += 1;
                let peer = self.nodes[node].on_hub.expect("the WebSocket is open");
                let members = members.into_iter().map(MemberId).collect();
                let new_link = LinkId::new(self.next_link).expect("31 bits");
                let now = now - self.start;
                self.hub_event(protocol::Event::Connect { peer, id: MemberId(id), members, new_link, now });
            }
            Action::Hub(HubAction::Content { to, data, last }) => {
                let peer = self.nodes[node].on_hub.expect("the WebSocket is open");
                let recipient = match to {
                    Remote::Member => 0,
                    Remote::Joiner(link) => link.value(),
                };
                self.hub_event(protocol::Event::Content { peer, recipient, last, data: data.into() });
            }
        }
    }

    /// Makes a description that names the node and its connection.
    fn describe_to(&mut self, node: usize, connection: ConnectionId, kind: Kind, reply: Reply) {
        let sdp = format!("{}a=node:{node}:{}\r\n", sdp(self.nodes[node].byte), connection.0);
        let now = self.now;
        self.nodes[node].mesh.local_description(connection, Description { kind, sdp }, reply, now);
    }
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn read_sdp(sdp: &str) -> (usize, ConnectionId) {
    let line = sdp.lines().find_map(|line| line.strip_prefix("a=node:")).expect("a description of a node");
    let (node, connection) = line.split_once(':').expect("two numbers");
    (node.parse().expect("a number"), ConnectionId(connection.parse().expect("a number")))
}
