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
use std::sync::Arc;

use super::members::MemberCopy;
use super::records::{Record, Side};
use super::{GroupTag, NodeId, Token};
use crate::protocol::{LinkId, Links, Message, Peer, PeerId, PeerRoles, Search};
pub(crate) use state::{CloseCause, ClusterGroup, OutcomeUnknown, Output, Repairs, Rules};
use state::{Job, Local, Role, StandIn};

impl ClusterGroup {
    /// Creates a group without peers. `dead` has all nodes that are known to be dead.
    pub(crate) fn new(me: NodeId, dead: Arc<BTreeSet<NodeId>>, tag: GroupTag, rules: Rules) -> Self {
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
            audit_due: false,
            in_flight_is_void: false,
            dead,
            repairs: Repairs::default(),
            actions: Vec::new(),
        }
    }

    /// Returns whether the group has no local peer, no link and nothing to send: the caller can drop it.
    pub(crate) fn is_idle(&self) -> bool {
        self.links.peer_count() == 0 && self.in_flight.is_none() && self.jobs.is_empty() && self.removals.is_empty()
    }

    /// Returns the incarnation of this node.
    pub(crate) fn me(&self) -> NodeId {
        self.me
    }

    /// Returns what must be done before a group is dropped whose state cannot be trusted: releases and records.
    pub(crate) fn abandon(&self) -> Vec<Output> {
        let end = |(&link, end): (&LinkId, &StandIn)| {
            let record = Record::End { group: self.tag, link, side: end.side.other() };
            Output::Record { to: end.token.node, record }
        };
        let remote_joiner = |link| self.stand_ins.get(&link).is_some_and(|end| end.side == Side::Joiner);
        let waiting = self.jobs.iter().filter_map(|job| match job {
            Job::Connect(connect) => Some(connect.new_link),
            Job::Look { .. } => None,
        });
        let allocated: BTreeSet<_> = self.links.ids().filter(|&link| !remote_joiner(link)).chain(waiting).collect();
        self.stand_ins.iter().map(end).chain(allocated.into_iter().map(Output::ReleaseLink)).collect()
    }

    /// Adds a local peer.
    pub(crate) fn join(&mut self, peer: PeerId, favored: bool) {
        let local = Local { favored, search: Search::default(), membership: None, closing: false, held: None };
        self.links.join(peer, Role::Local(local));
    }

    /// Removes a local peer.
    pub(crate) fn leave(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        let token = self.token(peer);
        let Role::Local(local) = &self.links.joined(peer).role else { panic!("{peer:?} is not a local peer") };
        let may_be_listed = local.membership.is_some() || self.has_connect(peer);
        self.drop_jobs(peer, out);
        if may_be_listed {
            self.removals.push(token);
        }
        self.close_ends(peer, out);
    }

    /// Returns the roles of a local peer.
    pub(crate) fn peer(&self, peer: PeerId) -> Option<PeerRoles> {
        let local = self.local(peer)?;
        let Peer { id, link, joiners, .. } = self.links.joined(peer);
        let member_id = local.membership.map(|_| *id);
        Some(PeerRoles { member_id, link: *link, joiners: joiners.len() })
    }

    /// Returns the number of local peers that are members, as far as this node knows.
    pub(crate) fn member_count(&self) -> usize {
        let is_member = |&peer: &PeerId| self.local(peer).is_some_and(|local| local.membership.is_some());
        self.links.all_peers().iter().filter(|peer| is_member(peer)).count()
    }

    /// Returns the repairs since the last call.
    pub(crate) fn take_repairs(&mut self) -> Repairs {
        std::mem::take(&mut self.repairs)
    }

    /// Returns the number of links that have at least one end on this node.
    pub(crate) fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Returns whether a `connect` of a local peer is being decided, so that its next request must wait.
    pub(crate) fn is_deciding(&self, peer: PeerId) -> bool {
        self.local(peer).is_some_and(|local| local.held.is_some())
    }

    /// Ends all links with a dead node, and removes its members from the list. `dead` has all dead nodes.
    pub(crate) fn node_died(&mut self, node: NodeId, dead: Arc<BTreeSet<NodeId>>, out: &mut Vec<Output>) {
        self.end_links_with(node, out);
        self.dead = dead;
        self.remove_dead_members();
    }

    /// Gives this node a new incarnation, because the other nodes declared the old one dead. Ends all links with other
    /// nodes, and puts the members back. `dead` has all dead nodes, and the old incarnation.
    pub(crate) fn new_incarnation(&mut self, me: NodeId, dead: Arc<BTreeSet<NodeId>>, out: &mut Vec<Output>) {
        if self.me == me {
            return;
        }
        // The other nodes have ended these links.
        let mut remote: Vec<_> = self.stand_ins.values().map(|end| end.peer).collect();
        remote.sort_unstable();
        for end in remote {
            self.close_ends(end, out);
        }
        (self.me, self.dead) = (me, dead);
        for peer in self.links.all_peers() {
            if let Some((entry, _)) = self.local_mut(peer).and_then(|local| local.membership.as_mut()) {
                entry.token.node = me;
                self.has_lost_members = true;
            }
        }
        // What the old incarnation wrote is removed, so each connect is decided again.
        self.in_flight_is_void = self.in_flight.is_some();
        for job in &mut self.jobs {
            if let Job::Connect(connect) = job {
                (connect.unresolved, connect.attempted, connect.seen_by_others) = (None, false, false);
            }
        }
        self.remove_dead_members();
        self.look();
    }

    /// Sends a message to a local peer, after the answer to its `connect` if that is being decided.
    fn send(&mut self, to: PeerId, sender: PeerId, message: Message, out: &mut Vec<Output>) {
        let max = self.rules.max_held_bytes;
        let Some(held) = self.local_mut(to).and_then(|local| local.held.as_mut()) else {
            return out.push(Output::Send { to, sender, message });
        };
        let data = if let Message::Content { data, .. } = &message { data.len() } else { 0 };
        held.bytes += size_of::<Message>() + data;
        held.messages.push((sender, message));
        if held.bytes > max {
            self.close(to, CloseCause::TooManyHeldBytes, out);
        }
    }

    /// Closes a local peer once. It gets no answer any more, and its entry is removed when it leaves.
    fn close(&mut self, peer: PeerId, cause: CloseCause, out: &mut Vec<Output>) {
        if let Some(local) = self.local_mut(peer).filter(|local| !local.closing) {
            local.closing = true;
            local.held = None;
            out.push(Output::Close { peer, cause });
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
        match &mut self.links.get_mut(peer)?.role {
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
