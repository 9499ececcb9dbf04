//! One group on one node of a cluster: its local peers, their links to peers of all nodes, and its part of the shared
//! member list.
//!
//! The reducer of a cluster. Inputs are the calls of the local peers, records of other nodes and replies of the
//! backplane. Outputs are messages and closes for local peers, records for other nodes, and steps for the backplane.
//! Like [`Group`](crate::protocol::Group), it contains no I/O, clock or randomness.
//!
//! A link between two nodes consists of two halves. In each half, a *stand-in* represents the remote end: a peer of
//! [`Links`] whose messages are records.

mod answers;
mod halves;
mod state;
mod steps;

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::members::MemberCopy;
use super::{GroupTag, NodeId, Token};
use crate::protocol::{CloseCode, LinkId, Links, MemberId, Message, Outcome, PeerId, Search};
pub(crate) use state::{ClusterGroup, OutcomeUnknown, Output, Rules};
use state::{Held, Local, Role};

impl ClusterGroup {
    pub(crate) fn new(me: NodeId, tag: GroupTag, rules: Rules) -> Self {
        Self {
            me,
            tag,
            rules,
            links: Links::default(),
            stand_ins: HashMap::new(),
            copy: MemberCopy::default(),
            jobs: VecDeque::new(),
            in_flight: None,
            removals: Vec::new(),
            has_lost_members: false,
            dead: BTreeSet::new(),
        }
    }

    /// Returns whether the group has no local peer, no link and nothing to send: the caller can drop it.
    pub(crate) fn is_idle(&self) -> bool {
        self.links.peer_count() == 0 && self.in_flight.is_none() && self.jobs.is_empty() && self.removals.is_empty()
    }

    /// Adds a local peer.
    pub(crate) fn join(&mut self, peer: PeerId, favored: bool) {
        let local = Local { favored, search: Search::default(), membership: None, closing: false, held: None };
        self.links.join(peer, Role::Local(local));
    }

    /// Sends content of a local peer along one of its links.
    pub(crate) fn content(
        &mut self,
        peer: PeerId,
        recipient: u32,
        last: bool,
        data: Bytes,
        out: &mut Vec<Output>,
    ) -> Outcome {
        let mut actions = Vec::new();
        let outcome = self.links.content(peer, recipient, last, data, &mut actions);
        self.relay(actions, last, out);
        outcome
    }

    /// Removes a local peer.
    pub(crate) fn leave(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        let token = self.token(peer);
        let Role::Local(local) = &self.links.joined(peer).role else { panic!("{peer:?} is not a local peer") };
        let may_be_listed = local.membership.is_some() || self.is_deciding(peer);
        self.drop_jobs(peer, out);
        if may_be_listed {
            self.removals.push(token);
        }
        self.close_ends(peer, out);
    }

    /// Ends all links with a dead node, and removes its members from the list.
    pub(crate) fn node_died(&mut self, node: NodeId, out: &mut Vec<Output>) {
        self.end_links_with(node, out);
        self.dead.insert(node);
        self.remove_dead_members();
    }

    /// Sends a message to a local peer, after the answer to its `connect` if that is being decided.
    fn send(&mut self, to: PeerId, message: Message, out: &mut Vec<Output>) {
        let max = self.rules.max_held_bytes;
        let Some(held) = self.local_mut(to).and_then(|local| local.held.as_mut()) else {
            return out.push(Output::Send { to, message });
        };
        let data = if let Message::Content { data, .. } = &message { data.len() } else { 0 };
        held.bytes += size_of::<Message>() + data;
        held.messages.push(message);
        if held.bytes > max {
            self.close(to, CloseCode::TryAgainLater, out);
        }
    }

    /// Closes a local peer once. It gets no answer any more, and its entry is removed when it leaves.
    fn close(&mut self, peer: PeerId, code: CloseCode, out: &mut Vec<Output>) {
        if let Some(local) = self.local_mut(peer).filter(|local| !local.closing) {
            local.closing = true;
            local.held = None;
            out.push(Output::Close { peer, code });
        }
    }

    fn is_stand_in(&self, peer: PeerId) -> bool {
        self.links.get(peer).is_some_and(|peer| !peer.role.is_local())
    }

    fn local(&self, peer: PeerId) -> Option<&Local> {
        match &self.links.get(peer)?.role {
            Role::Local(local) => Some(local),
            Role::StandIn => None,
        }
    }

    fn local_mut(&mut self, peer: PeerId) -> Option<&mut Local> {
        self.links.get(peer)?;
        match &mut self.links.joined_mut(peer).role {
            Role::Local(local) => Some(local),
            Role::StandIn => None,
        }
    }

    fn token(&self, peer: PeerId) -> Token {
        Token { node: self.me, peer }
    }
}

impl Role {
    fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }
}

#[cfg(test)]
mod tests;
