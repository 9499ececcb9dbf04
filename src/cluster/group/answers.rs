//! The answers to `connect` messages, and what they change on this node.

use super::state::{CloseCause, ClusterGroup, Connect, Job, Output};
use crate::cluster::Token;
use crate::cluster::records::Record;
use crate::protocol::{Decision, MemberId, Message, PeerId};

impl ClusterGroup {
    /// Answers the first jobs, as far as a reply since their start suffices.
    pub(super) fn answer_asked(&mut self, out: &mut Vec<Output>) {
        loop {
            // A member that is about to be removed or put back must not decide an answer.
            if self.removals.iter().any(|&token| self.copy.entry(token).is_some()) || self.returning_members().is_some()
            {
                return;
            }
            match self.jobs.front() {
                Some(Job::Look { asked: true }) => _ = self.jobs.pop_front(),
                Some(Job::Connect(connect)) if connect.asked => match self.decide(connect) {
                    None => self.drop_first(CloseCause::Internal, out),
                    Some(decision) if self.changes(connect, decision).is_none() => self.finish(decision, out),
                    Some(_) => return,
                },
                _ => return,
            }
        }
    }

    /// Answers the first job, a `connect`, and applies what the decision changes on this node.
    pub(super) fn finish(&mut self, decision: Decision<Token>, out: &mut Vec<Output>) {
        let Some(Job::Connect(connect)) = self.jobs.pop_front() else {
            unreachable!("a decision is about a connect");
        };
        let Connect { peer, id, new_link, stand_in, .. } = connect;
        let (entry, lineage) = (self.copy.entry(self.token(peer)), self.copy.lineage());
        let Some(local) = self.local_mut(peer).filter(|local| !local.closing) else {
            // The peer has left or is being closed. `reconcile` removes its entry, or the peer's leave does.
            return out.push(Output::ReleaseLink(new_link));
        };
        let mut held = local.held.take().unwrap_or_default().messages;
        match &decision {
            Decision::Keep => {}
            Decision::MakeMember | Decision::EvictAndMakeMember(_) => {
                local.search.clear();
                local.membership = entry.zip(lineage);
                self.rename(peer, id, out);
            }
            Decision::Bind(selection) => {
                local.membership = None;
                // The peer's link as a joiner ends with the answer, so its content must not follow the answer.
                held.retain(|(_, message)| !matches!(message, Message::Content { sender: 0, .. }));
                // The lists differ if the outcome was unknown; the search then forgets a few ids too many.
                let mut search = std::mem::take(&mut local.search);
                search.record(selection, self.copy.members());
                self.local_mut(peer).expect("it was found above").search = search;
            }
        }
        if let Decision::EvictAndMakeMember(blocking) = decision {
            if blocking.node == self.me {
                self.evict(blocking.peer, out);
            } else {
                let record = Record::Look { group: self.tag, member: blocking.peer };
                out.push(Output::Record { to: blocking.node, record });
            }
        }
        let member = !matches!(decision, Decision::Bind(_));
        out.push(Output::Send { to: peer, sender: peer, message: Message::Connected(member) });
        out.push(Output::Answered { peer, member });
        out.extend(held.into_iter().map(|(sender, message)| Output::Send { to: peer, sender, message }));
        match decision {
            Decision::Bind(selection) => {
                let token = selection.member.peer;
                let member_id = selection.member.id;
                self.bind(peer, token, member_id, new_link, stand_in, out);
            }
            _ => out.push(Output::ReleaseLink(new_link)),
        }
    }

    /// Gives a member its id, and tells the nodes of its remote joiners.
    fn rename(&mut self, peer: PeerId, id: MemberId, out: &mut Vec<Output>) {
        let member = self.links.joined_mut(peer);
        if std::mem::replace(&mut member.id, id) == id {
            return;
        }
        for link in &member.joiners {
            if let Some(joiner) = self.stand_ins.get(link) {
                let record = Record::Id { group: self.tag, link: *link, member_id: id };
                out.push(Output::Record { to: joiner.token.node, record });
            }
        }
    }

    /// Closes a local member that another peer's `connect` has evicted.
    pub(super) fn evict(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        if let Some(local) = self.local_mut(peer) {
            local.membership = None;
            self.close(peer, CloseCause::Evicted, out);
        }
    }

    /// Drops the first job, a `connect`, and closes its peer unless that has left or is being closed.
    pub(super) fn drop_first(&mut self, cause: CloseCause, out: &mut Vec<Output>) {
        let Some(Job::Connect(connect)) = self.jobs.pop_front() else { unreachable!("a decision is about a connect") };
        out.push(Output::ReleaseLink(connect.new_link));
        self.close(connect.peer, cause, out);
    }

    /// Finds out whether the decision on the first job was applied: only this node writes the peer's entry.
    pub(super) fn resolve(&mut self, decision: Decision<Token>, out: &mut Vec<Output>) {
        let Some(Job::Connect(connect)) = self.jobs.front() else {
            unreachable!("the first job is a connect until its step has a reply");
        };
        let entry = self.copy.entry(self.token(connect.peer));
        // A member that the list has lost may return.
        let was_member = self.local(connect.peer).is_some_and(|local| local.membership.is_some());
        let applied = match decision {
            Decision::Bind(_) => entry.is_none(),
            _ => entry.is_some_and(|entry| entry.id == connect.id),
        };
        if applied {
            self.finish(decision, out);
        } else if entry.is_none() && connect.seen_by_others && !was_member {
            // It was applied, and undone since.
            self.drop_first(CloseCause::Evicted, out);
        }
    }
}
