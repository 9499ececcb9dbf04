//! One mesh whose peers and hub are the test.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigver::client::Remote;
use sigver::protocol::LinkId;

use super::sdp;
use crate::event::{Event, LeaveReason};
use crate::id::PeerId;
use crate::mesh::{Action, Config, ConnectionId, Description, HubAction, Kind, Mesh, Reply};

/// A mesh that is the only member of its group, and what it did.
pub(crate) struct Lone {
    pub(crate) mesh: Mesh,
    pub(crate) now: Instant,
    pub(crate) accepted: Vec<ConnectionId>,
    pub(crate) begun: Vec<ConnectionId>,
    pub(crate) closed: Vec<ConnectionId>,
    pub(crate) candidates: usize,
    pub(crate) created: Vec<String>,
    pub(crate) events: Vec<Event>,
    /// Signals to joiners, with the link.
    pub(crate) signals: Vec<Value>,
    pub(crate) ended_links: usize,
    /// Control messages, with their connection.
    pub(crate) control: Vec<(ConnectionId, Value)>,
    next_link: u32,
}

/// An id below the one that a mesh draws, and a range of ids above it.
pub(crate) const SMALL: u32 = 1 << 31;
pub(crate) const LARGE: u32 = u32::MAX - 1_000;

impl Lone {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut lone = Self {
            mesh: Mesh::new(config, 1, now),
            now,
            accepted: Vec::new(),
            begun: Vec::new(),
            closed: Vec::new(),
            candidates: 0,
            created: Vec::new(),
            events: Vec::new(),
            signals: Vec::new(),
            ended_links: 0,
            control: Vec::new(),
            next_link: 1,
        };
        lone.mesh.hub_opened(now);
        lone.mesh.hub_connected(true, now);
        lone.settle();
        lone
    }

    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.mesh.poll_action() {
            match action {
                Action::Connect { connection, offer } => {
                    if offer {
                        self.begun.push(connection);
                        let offer = Description { kind: Kind::Offer, sdp: sdp(1) };
                        self.mesh.local_description(connection, offer, Reply::Route, self.now);
                    }
                }
                Action::Accept { connection, description, reply } => {
                    self.accepted.push(connection);
                    if description.kind == Kind::Offer {
                        let answer = Description { kind: Kind::Answer, sdp: sdp(1) };
                        self.mesh.local_description(connection, answer, reply, self.now);
                    }
                }
                Action::AddCandidate { .. } => self.candidates += 1,
                Action::SendControl { connection, text } => {
                    self.control.push((connection, serde_json::from_str(&text).expect("JSON")));
                }
                Action::Joined { create, .. } => self.created.extend(create),
                Action::Close { connection } => self.closed.push(connection),
                Action::Event(event) => self.events.push(event),
                Action::Hub(HubAction::Content { data, last, .. }) => {
                    self.ended_links += usize::from(last);
                    if !data.is_empty() {
                        self.signals.push(serde_json::from_slice(&data).expect("JSON"));
                    }
                }
                Action::Hub(_) | Action::RestartIce { .. } => {}
            }
        }
    }

    /// A signal arrives over a new link of the hub. Returns the link.
    pub(crate) fn joiner(&mut self, signal: &Value) -> u32 {
        self.next_link += 1;
        self.joiner_again(self.next_link, signal);
        self.next_link
    }

    pub(crate) fn joiner_again(&mut self, link: u32, signal: &Value) {
        let from = Remote::Joiner(LinkId::new(link).expect("31 bits"));
        self.mesh.hub_content(from, link, signal.to_string().as_bytes(), self.now);
        self.settle();
    }

    pub(crate) fn end(&mut self, link: u32) {
        self.mesh.hub_ended(Remote::Joiner(LinkId::new(link).expect("31 bits")), link, self.now);
        self.settle();
    }

    /// A peer connects over the hub. Returns its connection.
    pub(crate) fn connect(&mut self, id: u32, byte: u8) -> ConnectionId {
        self.joiner(&offer(id, id, byte));
        let connection = *self.accepted.last().expect("the offer is answered");
        self.mesh.opened(connection, self.now);
        self.settle();
        connection
    }

    /// As `connect`, and the peer introduces itself.
    pub(crate) fn join(&mut self, id: u32, byte: u8) -> ConnectionId {
        let connection = self.connect(id, byte);
        self.receive(connection, &json!({ "hello": { "v": 1 } }));
        connection
    }

    pub(crate) fn receive(&mut self, connection: ConnectionId, message: &Value) {
        self.receive_text(connection, &message.to_string());
    }

    pub(crate) fn receive_text(&mut self, connection: ConnectionId, text: &str) {
        self.mesh.control_message(connection, false, text.as_bytes(), self.now);
        self.settle();
    }

    pub(crate) fn relay(&mut self, through: ConnectionId, signal: &Value) {
        self.receive(through, &json!({ "relay": signal }));
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.mesh.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.mesh.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    pub(crate) fn last_reject(&self) -> Option<&str> {
        self.signals.last()?["reject"].as_str()
    }

    /// What it sent through this neighbour.
    pub(crate) fn relayed(&self, through: ConnectionId) -> Vec<&Value> {
        self.control.iter().filter(|(id, _)| *id == through).filter_map(|(_, message)| message.get("relay")).collect()
    }

    pub(crate) fn left(&self) -> Vec<(u32, LeaveReason)> {
        let leave = |event: &Event| match event {
            Event::PeerLeave { peer: PeerId(peer), reason } => Some((*peer, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(leave).collect()
    }

    pub(crate) fn joined(&self) -> Vec<u32> {
        let join = |event: &Event| match event {
            Event::PeerJoin { peer: PeerId(peer), .. } => Some(*peer),
            _ => None,
        };
        self.events.iter().filter_map(join).collect()
    }
}

/// An offer to a member whose id the sender does not know. The byte is that of the sender's certificate.
pub(crate) fn offer(from: u32, negotiation_id: u32, byte: u8) -> Value {
    offer_to(0, from, negotiation_id, byte)
}

pub(crate) fn offer_to(to: u32, from: u32, negotiation_id: u32, byte: u8) -> Value {
    let description = json!({ "type": "offer", "sdp": sdp(byte) });
    json!({ "from": from, "to": to, "negotiationId": negotiation_id, "members": [], "description": description })
}
