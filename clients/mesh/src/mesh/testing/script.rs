//! What tests let the peers and the hub of a [`Lone`] mesh do.

use serde_json::{Value, json};
use sigver::client::Remote;
use sigver::protocol::LinkId;

use super::{Lone, sdp};
use crate::event::{Event, LeaveReason};
use crate::id::PeerId;
use crate::mesh::ConnectionId;

/// An id below the one that a mesh draws, and a range of ids above it.
pub(crate) const SMALL: u32 = 1 << 31;
pub(crate) const LARGE: u32 = u32::MAX - 1_000;

impl Lone {
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
