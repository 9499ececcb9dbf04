//! Links between two nodes: each node has one half, in which a stand-in represents the remote end.

use bytes::Bytes;

use super::state::{ClusterGroup, Job, Output, Role, StandIn};
use crate::cluster::records::{Record, Side};
use crate::cluster::{NodeId, Token};
use crate::protocol::{Action, CloseCode, LinkId, MemberId, Message, Outcome, PeerId};

/// The content that an event relays.
#[derive(Clone, Copy)]
struct Relayed {
    sender: PeerId,
    last: bool,
}

impl ClusterGroup {
    /// Applies a record of another node about this group. `stand_in` is a new id, for the remote end of the link that a
    /// [`Record::Bind`] creates. Records about whole nodes or about closes have no effect.
    pub(crate) fn receive(&mut self, from: NodeId, record: Record, stand_in: PeerId, out: &mut Vec<Output>) {
        match record {
            Record::Bind { link, joiner, member, member_id, .. } => {
                let joiner = Token { node: from, peer: joiner };
                self.bind_remote_joiner(link, joiner, member, member_id, stand_in, out);
            }
            Record::Data { link, side, last, bytes, .. } => {
                let Some(end) = self.remote_end(link, from, side) else { return };
                let recipient = match side {
                    Side::Joiner => 0,
                    Side::Member => link.value(),
                };
                self.content(end, recipient, last, bytes, out);
            }
            Record::End { link, side, .. } => {
                if let Some(end) = self.remote_end(link, from, side) {
                    self.close_ends(end, out);
                }
            }
            Record::Over { link, .. } => {
                if self.remote_end(link, from, Side::Joiner).is_some() {
                    let mut actions = Vec::new();
                    self.links.unlink(link, &mut actions);
                    self.relay(&mut actions, None, out);
                }
            }
            Record::Id { link, member_id, .. } => {
                if let Some(end) = self.remote_end(link, from, Side::Member) {
                    self.links.joined_mut(end).id = member_id;
                }
            }
            Record::Look { member, .. } => {
                self.note_seen(member);
                self.look();
            }
            Record::Close { .. } | Record::CloseMatching { .. } | Record::Reset => {}
        }
    }

    /// Returns the stand-in of the remote end of a link, if that end is on this node and this side.
    fn remote_end(&self, link: LinkId, node: NodeId, side: Side) -> Option<PeerId> {
        let end = self.stand_ins.get(&link)?;
        (end.token.node == node && end.side == side).then_some(end.peer)
    }

    /// Ends all links with a node: records of it were lost, or it was declared dead.
    pub(crate) fn end_links_with(&mut self, node: NodeId, out: &mut Vec<Output>) {
        for (_, end) in self.ends_at(node) {
            self.close_ends(end.peer, out);
        }
    }

    /// Ends all links with a node that has sent a [`Record::Reset`]. Its answers for the links whose joiner is on this
    /// node end the links that the other node bound after it sent the record.
    pub(crate) fn reset_links_with(&mut self, node: NodeId, out: &mut Vec<Output>) {
        for (link, end) in self.ends_at(node) {
            if end.side == Side::Member {
                let record = Record::End { group: self.tag, link, side: Side::Joiner };
                out.push(Output::Record { to: node, record });
            }
            self.close_ends(end.peer, out);
        }
    }

    /// Closes the remote peer that a stand-in represents, and ends their link: the peer filled the outbox of a local
    /// peer. Has no effect if the link has ended.
    pub(crate) fn close_remote(
        &mut self,
        stand_in: PeerId,
        code: CloseCode,
        reason: String,
        cause: String,
        out: &mut Vec<Output>,
    ) {
        let Some(end) = self.stand_ins.values().find(|end| end.peer == stand_in).copied() else { return };
        let record = Record::Close { group: self.tag, peer: end.token.peer, code, reason, cause };
        out.push(Output::Record { to: end.token.node, record });
        self.close_ends(stand_in, out);
    }

    /// Returns the remote ends at a node, in a fixed order, so that equal inputs have equal outputs.
    fn ends_at(&self, node: NodeId) -> Vec<(LinkId, StandIn)> {
        let ends = self.stand_ins.iter().filter(|(_, end)| end.token.node == node);
        let mut ends: Vec<_> = ends.map(|(&link, &end)| (link, end)).collect();
        ends.sort_unstable_by_key(|(_, end)| end.peer);
        ends
    }

    /// Returns whether a link has this id, or may have it after the answer to a `connect`.
    fn is_in_use(&self, link: LinkId) -> bool {
        let waits = |job: &Job| matches!(job, Job::Connect(connect) if connect.new_link == link);
        self.links.ends(link).is_some() || self.jobs.iter().any(waits)
    }

    /// Binds a remote joiner to a local member.
    fn bind_remote_joiner(
        &mut self,
        link: LinkId,
        joiner: Token,
        member: PeerId,
        listed_id: MemberId,
        stand_in: PeerId,
        out: &mut Vec<Output>,
    ) {
        self.note_seen(member);
        let (group, to) = (self.tag, joiner.node);
        if self.local(member).is_none() {
            // The list may have an entry that a late step of this node has added.
            self.look();
        }
        if self.local(member).is_none() || self.is_in_use(link) {
            let record = Record::End { group, link, side: Side::Member };
            return out.push(Output::Record { to, record });
        }
        self.links.join(stand_in, Role::StandIn);
        self.stand_ins.insert(link, StandIn { peer: stand_in, token: joiner, side: Side::Joiner });
        self.links.bind(stand_in, member, link, &mut Vec::new());
        // The member may have changed its id since the joiner's node read the list.
        let member_id = self.links.joined(member).id;
        if member_id != listed_id {
            out.push(Output::Record { to, record: Record::Id { group, link, member_id } });
        }
    }

    /// Binds a local joiner to a member of any node.
    pub(super) fn bind(
        &mut self,
        joiner: PeerId,
        member: Token,
        member_id: MemberId,
        link: LinkId,
        stand_in: PeerId,
        out: &mut Vec<Output>,
    ) {
        let mut actions = Vec::new();
        let is_remote = member.node != self.me;
        // The list may still show a member that has left or whose node has died.
        let exists = if is_remote { !self.dead.contains(&member.node) } else { self.local(member.peer).is_some() };
        // A remote joiner may have a link with the same id.
        let is_bound = exists && self.links.ends(link).is_none();
        if is_bound {
            let mut end = member.peer;
            if is_remote {
                self.links.join(stand_in, Role::StandIn);
                self.links.joined_mut(stand_in).id = member_id;
                end = stand_in;
            }
            self.links.bind(joiner, end, link, &mut actions);
        } else if let Some(replaced) = self.links.joined(joiner).link {
            self.links.unlink(replaced, &mut actions);
        }
        self.end_replaced_links(&actions, out);
        self.relay(&mut actions, None, out);
        if !is_bound {
            self.send(joiner, joiner, Message::from_member(link, Bytes::new()), out);
            out.push(Output::ReleaseLink(link));
        } else if is_remote {
            self.stand_ins.insert(link, StandIn { peer: stand_in, token: member, side: Side::Member });
            let record = Record::Bind { group: self.tag, link, joiner, member: member.peer, member_id };
            out.push(Output::Record { to: member.node, record });
        }
    }

    /// Tells the nodes of remote members that their joiner was bound again.
    fn end_replaced_links(&self, actions: &[Action], out: &mut Vec<Output>) {
        for action in actions {
            if let Action::ReleaseLink(link) = *action
                && let Some(end) = self.stand_ins.get(&link)
            {
                out.push(Output::Record { to: end.token.node, record: Record::Over { group: self.tag, link } });
            }
        }
    }

    /// Removes a peer, local or a stand-in, and closes its ends of all links.
    pub(super) fn close_ends(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        let mut actions = Vec::new();
        let is_local = self.links.joined(peer).role.is_local();
        self.links.leave(peer, &mut actions);
        for action in &actions {
            // A remote end learns of a close by a record, even if this end has sent its last data.
            if let Action::ReleaseLink(link) = *action
                && let Some(end) = self.stand_ins.get(&link)
                && is_local
            {
                let record = Record::End { group: self.tag, link, side: end.side.other() };
                out.push(Output::Record { to: end.token.node, record });
            }
        }
        actions.retain(|action| !matches!(action, Action::Send { to, .. } if self.is_stand_in(*to)));
        self.relay(&mut actions, None, out);
    }

    /// Sends content of a peer, local or a stand-in, along one of its links.
    pub(crate) fn content(
        &mut self,
        sender: PeerId,
        recipient: u32,
        last: bool,
        data: Bytes,
        out: &mut Vec<Output>,
    ) -> Outcome {
        let mut actions = std::mem::take(&mut self.actions);
        let outcome = self.links.content(sender, recipient, last, data, &mut actions);
        self.relay(&mut actions, Some(Relayed { sender, last }), out);
        self.actions = actions;
        outcome
    }

    /// Applies the actions of links, and of the content that caused them.
    fn relay(&mut self, actions: &mut Vec<Action>, content: Option<Relayed>, out: &mut Vec<Output>) {
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } if self.is_stand_in(to) => {
                    let last = content.expect("a remote end receives only content").last;
                    self.forward(to, message, last, out);
                }
                Action::Send { to, message } => {
                    let sender = content.map_or(to, |content| content.sender);
                    self.send(to, sender, message, out);
                }
                Action::Close { .. } => unreachable!("links close no peer"),
                Action::ReleaseLink(link) => {
                    let stand_in = self.stand_ins.remove(&link);
                    if let Some(end) = stand_in.filter(|end| self.links.get(end.peer).is_some()) {
                        self.links.leave(end.peer, &mut Vec::new());
                    }
                    // The id of a link with a remote joiner belongs to the joiner's node.
                    if stand_in.is_none_or(|end| end.side == Side::Member) {
                        out.push(Output::ReleaseLink(link));
                    }
                }
            }
        }
    }

    /// Sends content to the remote end of a link.
    fn forward(&self, to: PeerId, message: Message, last: bool, out: &mut Vec<Output>) {
        let Message::Content { sender, recipient, data, .. } = message else {
            unreachable!("only content goes along links");
        };
        // One of the two ids is that of the link, the other is 0.
        let link = LinkId::new(sender | recipient).expect("content for an end of a link has its id");
        let end = &self.stand_ins[&link];
        debug_assert_eq!(end.peer, to, "a stand-in is the end of one link");
        let record = Record::Data { group: self.tag, link, side: end.side.other(), last, bytes: data };
        out.push(Output::Record { to: end.token.node, record });
    }
}
