//! The network of a simulated group: what happens between the nodes.

use std::time::Duration;

use serde_json::Value;
use sigver::client::Remote;
use sigver::protocol::{self, LinkId, MemberId, Message};

use super::{Delivery, LATENCY, Link, World};
use crate::event::Close;
use crate::mesh::testing::sdp;
use crate::mesh::{Action, ConnectionId, Description, HubAction, Kind, Reply};

impl World {
    pub(super) fn deliver(&mut self, after: Duration, delivery: Delivery) {
        self.next += 1;
        self.queue.insert((self.now + after, self.next), delivery);
    }

    pub(super) fn handle(&mut self, delivery: Delivery) {
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
