//! The part of one node in a group that spans the nodes of a cluster.

use std::sync::Arc;

use super::bus::Bus;
use super::link_ids::LinkIdPool;
use crate::cluster::{CloseCause, ClusterGroup, GroupTag, MemberList, NodeId, OutcomeUnknown, Output, Record, Step};
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::protocol::{CloseCode, Event, Outcome, PeerId};

/// The part of this node in a group of all nodes.
pub(super) struct Clustered {
    pub(super) group: ClusterGroup,
    tag: GroupTag,
    bus: Arc<Bus>,
    /// The group is in the queue of groups that have a step to send.
    is_queued: bool,
    /// The number of times that a panic has replaced the group. The reply to a step of an earlier group has no effect.
    generation: u64,
    /// Empty between events; kept for its capacity.
    pub(super) outputs: Vec<Output>,
}

/// The answer to a `connect`, which the caller reports once it holds no lock.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Answer {
    pub(in crate::hub) peer: PeerId,
    pub(in crate::hub) member: bool,
}

/// A step of a room's group, which the driver sends.
#[derive(Debug)]
pub(in crate::hub) struct RoomStep {
    pub(in crate::hub) step: Step,
    /// What [`Room::reply`] needs to know about the step.
    pub(in crate::hub) generation: u64,
}

impl Clustered {
    pub(super) fn new(tag: GroupTag, bus: Arc<Bus>) -> Self {
        Self { group: bus.new_group(tag), tag, bus, is_queued: false, generation: 0, outputs: Vec::new() }
    }

    /// Replaces the group after a panic. Tells the other nodes that its links have ended, and releases their ids.
    pub(super) fn restart(&mut self, link_ids: &LinkIdPool) {
        for output in self.group.abandon() {
            match output {
                Output::ReleaseLink(id) => link_ids.release(id),
                Output::Record { to, record } => self.bus.send(self.group.me(), to, &record),
                other => unreachable!("an abandoned group has no peers, but: {other:?}"),
            }
        }
        self.generation += 1;
        self.group = self.bus.new_group(self.tag);
        // Removes the entries of the peers that are closed now.
        self.group.look();
        self.enqueue();
    }

    /// Applies an event of a local peer.
    pub(super) fn apply(&mut self, event: Event, out: &mut Vec<Output>) -> Outcome {
        match event {
            Event::Join { peer, favored } => self.group.join(peer, favored),
            Event::Connect { peer, id, members, new_link, .. } => {
                self.group.connect(peer, id, members, new_link, self.bus.new_stand_in(), out);
            }
            Event::Content { peer, recipient, last, data } => {
                return self.group.content(peer, recipient, last, data, out);
            }
            Event::Leave { peer } => self.group.leave(peer, out),
        }
        Outcome::Nothing
    }

    /// Tells the driver if the group has a step to send.
    pub(super) fn enqueue(&mut self) {
        if self.group.has_work() && !std::mem::replace(&mut self.is_queued, true) {
            self.bus.enqueue_group(self.tag);
        }
    }

    /// Returns whether nothing is left that a driver could send.
    pub(super) fn is_idle(&self) -> bool {
        self.group.is_idle() || self.bus.is_disconnected()
    }

    /// Returns the next step of the group, if it has one to send and none is in flight.
    pub(super) fn next_step(&mut self) -> Option<RoomStep> {
        self.is_queued = false;
        let step = self.group.next_step(|| fastrand::u64(..))?;
        Some(RoomStep { step, generation: self.generation })
    }

    /// Applies the reply to a step, unless a panic has replaced the group since.
    pub(super) fn reply(&mut self, generation: u64, reply: Result<MemberList, OutcomeUnknown>, out: &mut Vec<Output>) {
        if self.generation == generation {
            self.group.reply(reply, out);
        }
    }

    /// Counts the repairs since the last call.
    pub(super) fn count_repairs(&mut self) {
        self.bus.counters().count_repairs(self.group.take_repairs());
    }

    /// Applies a record of another node.
    pub(super) fn receive(&mut self, from: NodeId, record: Record, out: &mut Vec<Output>) {
        self.group.receive(from, record, self.bus.new_stand_in(), out);
    }

    /// Sends a record to another node.
    pub(super) fn send(&self, to: NodeId, record: &Record) {
        self.bus.send(self.group.me(), to, record);
    }

    /// Returns how the hub closes a peer.
    pub(super) fn close(&self, cause: CloseCause) -> Close {
        match cause {
            CloseCause::Evicted => CloseCode::BlockingMember.into(),
            CloseCause::GroupFull => {
                let reason = format!("member limit of the group reached ({})", self.bus.max_members());
                Close::by(Cause::MaxMembersPerGroup, CloseCode::TryAgainLater, reason)
            }
            CloseCause::TooManyHeldBytes => {
                let reason = "too many messages for this peer while its connect waits for an answer";
                Close::by(Cause::MaxOutboxBytes, CloseCode::TryAgainLater, reason)
            }
            CloseCause::Internal => CloseCode::Internal.into(),
        }
    }
}
