//! What a room does in addition if its group spans the nodes of a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::clustered::{Answer, Clustered, RoomStep};
use super::frame_queue::QueuedFrame;
use super::room::{KEPT_CAPACITY, Peers, Room, RoomGroup, State};
use crate::cluster::{MemberList, NodeId, OutcomeUnknown, Output, Record};
use crate::hub::limits::Cause;
use crate::protocol::{Event, Outcome, PeerId};

/// For the peers of this node.
impl Room {
    /// Applies an event of a local peer.
    pub(super) fn apply_clustered(
        &self,
        clustered: &mut Clustered,
        peers: &mut Peers,
        event: Event,
        now: Duration,
    ) -> Outcome {
        let mut outputs = std::mem::take(&mut clustered.outputs);
        let outcome = clustered.apply(event, &mut outputs);
        let answers = self.apply_outputs(clustered, peers, outputs, now);
        debug_assert!(answers.is_empty(), "only a reply of the engine answers a connect");
        clustered.enqueue();
        outcome
    }

    /// Returns whether a `connect` of a peer waits for its answer. Nothing is read from the peer until then.
    pub(in crate::hub) fn awaits_answer(&self, peer: PeerId) -> bool {
        match &self.lock().group {
            RoomGroup::Local(_) => false,
            RoomGroup::Clustered(clustered) => clustered.group.is_deciding(peer),
        }
    }

    fn apply_outputs(
        &self,
        clustered: &mut Clustered,
        peers: &mut Peers,
        mut outputs: Vec<Output>,
        now: Duration,
    ) -> Vec<Answer> {
        let (mut answers, mut further) = (Vec::new(), Vec::new());
        while !outputs.is_empty() {
            for output in outputs.drain(..) {
                match output {
                    Output::Send { to, sender, message } => {
                        let frame = QueuedFrame::new(message.encode(), sender, now);
                        if let Some(flooder) = self.push(peers, to, frame) {
                            let (peer, close) = *flooder;
                            let (reason, cause) =
                                (close.reason().to_owned(), close.cause().map_or("", Cause::as_str).to_owned());
                            clustered.group.close_remote(peer, close.code(), reason, cause, &mut further);
                        }
                    }
                    Output::Close { peer, cause } => peers[&peer].outbox.close(clustered.close(cause)),
                    Output::ReleaseLink(id) => self.link_ids.release(id),
                    Output::Record { to, record } => clustered.send(to, &record),
                    Output::Answered { peer, member } => answers.push(Answer { peer, member }),
                }
            }
            outputs.append(&mut further);
        }
        outputs.shrink_to(KEPT_CAPACITY);
        clustered.outputs = outputs;
        answers
    }
}

/// For the driver. None of these methods has an effect on a room without a cluster.
impl Room {
    /// Returns the next step of the group, if it has one to send and none is in flight.
    pub(in crate::hub) fn next_step(&self) -> Option<RoomStep> {
        let state = &mut *self.lock();
        let RoomGroup::Clustered(clustered) = &mut state.group else { return None };
        clustered.next_step()
    }

    /// Applies the reply to a step, and returns the answers that it has led to.
    pub(in crate::hub) fn reply(
        &self,
        generation: u64,
        reply: Result<MemberList, OutcomeUnknown>,
        now: Duration,
    ) -> Vec<Answer> {
        self.with_group(now, |clustered, out| clustered.reply(generation, reply, out))
    }

    /// Applies a record of another node.
    pub(in crate::hub) fn receive(&self, from: NodeId, record: Record, now: Duration) {
        self.with_group(now, |clustered, out| clustered.receive(from, record, out));
    }

    /// Ends all links with a node whose records were lost, and reads the list if there were any.
    pub(in crate::hub) fn end_links_with(&self, node: NodeId, now: Duration) {
        self.with_group(now, |clustered, out| {
            let links = clustered.group.link_count();
            clustered.group.end_links_with(node, out);
            if clustered.group.link_count() < links {
                clustered.group.look();
            }
        });
    }

    /// Ends all links with a node that missed records of this node.
    pub(in crate::hub) fn reset_links_with(&self, node: NodeId, now: Duration) {
        self.with_group(now, |clustered, out| clustered.group.reset_links_with(node, out));
    }

    /// Ends all links with a dead node, and removes its members. `dead` has all dead nodes.
    pub(in crate::hub) fn node_died(&self, node: NodeId, dead: &Arc<BTreeSet<NodeId>>, now: Duration) {
        self.with_group(now, |clustered, out| clustered.group.node_died(node, dead.clone(), out));
    }

    /// Gives this node a new incarnation. `dead` has all dead nodes, and the old incarnation.
    pub(in crate::hub) fn new_incarnation(&self, me: NodeId, dead: &Arc<BTreeSet<NodeId>>, now: Duration) {
        self.with_group(now, |clustered, out| clustered.group.new_incarnation(me, dead.clone(), out));
    }

    /// Compares the list with the local members, and puts their entries again.
    pub(in crate::hub) fn audit(&self, now: Duration) {
        self.with_group(now, |clustered, _| clustered.group.audit());
    }

    /// Returns whether nothing of the group is left to send.
    pub(super) fn is_idle(&self) -> bool {
        match &self.lock().group {
            RoomGroup::Local(_) => true,
            RoomGroup::Clustered(clustered) => clustered.is_idle(),
        }
    }

    fn with_group(&self, now: Duration, change: impl FnOnce(&mut Clustered, &mut Vec<Output>)) -> Vec<Answer> {
        let State { group, peers, .. } = &mut *self.lock();
        let RoomGroup::Clustered(clustered) = group else { return Vec::new() };
        let mut outputs = std::mem::take(&mut clustered.outputs);
        change(clustered, &mut outputs);
        clustered.count_repairs();
        let answers = self.apply_outputs(clustered, peers, outputs, now);
        clustered.enqueue();
        answers
    }
}
