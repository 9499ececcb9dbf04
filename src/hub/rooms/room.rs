//! One group and the outboxes of its peers, behind one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

#[cfg(feature = "cluster")]
use super::clustered::Clustered;
use super::frame_queue::QueuedFrame;
use super::link_ids::LinkIdPool;
use super::outbox::{Outbox, Overflow};
use super::outbox_budget::Holder as _;
use crate::hub::admission::permit::PeerSlot;
use crate::hub::close::Close;
use crate::hub::limits::config::Config;
use crate::hub::observability::snapshot::{GroupSnapshot, PeerSnapshot};
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::{Action, CloseCode, Event, Group, GroupKey, Outcome, PeerId, PeerRoles, Request};

/// A group whose events are applied one after the other.
///
/// The lock under which an event is decided also covers the pushes into the outboxes. Therefore every peer receives the
/// messages of two events in the order of the events. A push never waits, and nothing awaits under the lock.
pub(in crate::hub) struct Room {
    key: GroupKey,
    /// The shard of the registry that contains the room. Stored, because hashing the key would slow every relay.
    shard: usize,
    config: Arc<Config>,
    pub(super) link_ids: Arc<LinkIdPool>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) group: RoomGroup,
    pub(super) peers: Peers,
    /// Empty between events; kept for its capacity.
    actions: Vec<Action>,
}

/// The group of a room.
#[cfg_attr(feature = "cluster", expect(clippy::large_enum_variant, reason = "a hub without a cluster needs no box"))]
pub(super) enum RoomGroup {
    /// All of its peers are in this room.
    Local(Group),
    /// Its peers are in rooms of all nodes of a cluster.
    #[cfg(feature = "cluster")]
    Clustered(Box<Clustered>),
}

pub(super) type Peers = HashMap<PeerId, RoomPeer, FxBuildHasher>;

/// What a room stores about a peer in addition to its roles in the group.
pub(super) struct RoomPeer {
    pub(super) outbox: Arc<Outbox>,
    slot: Arc<PeerSlot>,
    /// Some of its frames were discarded, so none may follow. Its task does not know yet that it is closed.
    is_muted: bool,
}

/// The number of actions up to which a room does not release memory. Only the leave of a member with many joiners
/// needs more.
pub(super) const KEPT_CAPACITY: usize = 8;

impl Room {
    pub(super) fn new(key: GroupKey, shard: usize, config: Arc<Config>, link_ids: Arc<LinkIdPool>) -> Self {
        let group = RoomGroup::Local(Group::with_eviction_min_age(config.eviction_min_age));
        Self { key, shard, config, link_ids, state: Mutex::new(State::new(group)) }
    }

    /// Creates a room whose group spans the nodes of a cluster.
    #[cfg(feature = "cluster")]
    pub(super) fn clustered(self, clustered: Clustered) -> Self {
        Self { state: Mutex::new(State::new(RoomGroup::Clustered(Box::new(clustered)))), ..self }
    }

    pub(in crate::hub) fn key(&self) -> &GroupKey {
        &self.key
    }

    pub(super) fn shard(&self) -> usize {
        self.shard
    }

    /// Adds a peer to the group.
    pub(in crate::hub) fn join(&self, peer: PeerId, slot: &Arc<PeerSlot>, outbox: &Arc<Outbox>) {
        let state = &mut *self.lock();
        self.apply(state, Event::Join { peer, favored: slot.favored }, slot.since());
        state.peers.insert(peer, RoomPeer { outbox: outbox.clone(), slot: slot.clone(), is_muted: false });
    }

    /// Applies a request of a peer, and returns its outcome.
    pub(in crate::hub) fn handle(&self, peer: PeerId, request: Request, now: Duration) -> Outcome {
        let state = &mut *self.lock();
        // A panic may have removed the peer, see `lock`. Its task does not know yet that it is closed.
        if state.peers.get(&peer).is_none_or(|peer| peer.is_muted) {
            return Outcome::Nothing;
        }
        let event = match request {
            Request::Connect { id, members } => {
                Event::Connect { peer, id, members, new_link: self.link_ids.allocate(), now }
            }
            Request::Content { recipient, last, data } => Event::Content { peer, recipient, last, data },
        };
        self.apply(state, event, now)
    }

    /// Removes a peer from the group.
    pub(in crate::hub) fn leave(&self, peer: PeerId, now: Duration) {
        let state = &mut *self.lock();
        // A panic may have removed the peer before, see `lock`.
        if state.peers.remove(&peer).is_some() {
            self.apply(state, Event::Leave { peer }, now);
        }
    }

    /// Closes all peers, and returns their number.
    pub(in crate::hub) fn close_all(&self, close: &Close) -> usize {
        let state = self.lock();
        state.close_all(close);
        state.peers.len()
    }

    /// Closes a peer, and returns whether it is in this room.
    pub(in crate::hub) fn close(&self, peer: PeerId, close: Close) -> bool {
        let state = self.lock();
        let Some(RoomPeer { outbox, .. }) = state.peers.get(&peer) else { return false };
        outbox.close(close);
        true
    }

    pub(in crate::hub) fn peers(&self) -> Vec<PeerId> {
        self.lock().peers.keys().copied().collect()
    }

    pub(in crate::hub) fn group_snapshot(&self, key_hash: u64) -> GroupSnapshot {
        let State { group, peers, .. } = &*self.lock();
        let (peers, members, links) = (peers.len(), group.member_count(), group.link_count());
        GroupSnapshot { key: self.key.clone(), key_hash, peers, members, links }
    }

    pub(in crate::hub) fn peer_snapshots(&self, now: Duration) -> Vec<PeerSnapshot> {
        let state = self.lock();
        let snapshot = |(&id, RoomPeer { outbox, slot, .. }): (&PeerId, &RoomPeer)| {
            let roles = state.group.peer(id)?;
            let (queued_messages, queued_bytes) = outbox.queued();
            Some(PeerSnapshot {
                id,
                key: self.key.clone(),
                identity: slot.shared_identity(),
                client_ip: slot.client_ip(),
                age: now.saturating_sub(slot.since()),
                member_id: roles.member_id,
                is_bound: roles.link.is_some(),
                joiners: roles.joiners,
                queued_messages,
                queued_bytes,
                data: slot.shared_data(),
            })
        };
        state.peers.iter().filter_map(snapshot).collect()
    }

    /// Decides an event and applies its actions.
    fn apply(&self, state: &mut State, event: Event, now: Duration) -> Outcome {
        let State { group, peers, actions } = state;
        #[cfg(not(feature = "cluster"))]
        let RoomGroup::Local(group) = group;
        #[cfg(feature = "cluster")]
        let group = match group {
            RoomGroup::Local(group) => group,
            RoomGroup::Clustered(clustered) => return self.apply_clustered(clustered, peers, event, now),
        };
        let content_sender = match event {
            Event::Content { peer, .. } => Some(peer),
            _ => None,
        };
        let outcome = group.handle(event, actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } => {
                    let frame = QueuedFrame::new(message.encode(), content_sender.unwrap_or(to), now);
                    // A sender that has left cannot be closed.
                    let _ = self.push(peers, to, frame);
                }
                Action::Close { peer, code } => peers[&peer].outbox.close(code.into()),
                Action::ReleaseLink(id) => self.link_ids.release(id),
            }
        }
        actions.shrink_to(KEPT_CAPACITY);
        outcome
    }

    /// Queues a frame for a peer. If its outbox is full:
    /// - If all outboxes together are full, and a stalled peer of any room holds more than this one, closes that peer.
    /// - If one sender sent more than half of the queue, closes the sender and discards its frames. The receiver learns
    ///   of it by the end of their link.
    /// - Otherwise, closes the receiver.
    ///
    /// Returns a sender that must be closed and is not in this room: it is on another node, or has left.
    pub(super) fn push(&self, peers: &mut Peers, to: PeerId, frame: QueuedFrame) -> Option<Box<(PeerId, Close)>> {
        let (mut pushed, mut absent) = (peers[&to].outbox.push(frame, &self.config), None);
        while let Err(overflow) = pushed {
            let Some(frame) = self.make_room(peers, to, overflow, &mut absent) else { break };
            pushed = peers[&to].outbox.push(frame, &self.config);
        }
        absent
    }

    /// Closes the peer that caused an overflow, or sets `absent` if it is not in this room. Returns the frame, unless it
    /// must not be sent any more.
    #[cold]
    fn make_room(
        &self,
        peers: &mut Peers,
        to: PeerId,
        overflow: Overflow,
        absent: &mut Option<Box<(PeerId, Close)>>,
    ) -> Option<QueuedFrame> {
        let Overflow { frame, cause, main_sender, larger } = overflow;
        if let Some(larger) = larger {
            larger.close_full(Close::outbox_full(cause, &self.config));
            return Some(frame);
        }
        let outbox = &peers[&to].outbox;
        let Some(sender) = main_sender.filter(|&sender| sender != to) else {
            outbox.close_full(Close::outbox_full(cause, &self.config));
            return None;
        };
        outbox.discard(sender);
        let close = Close::filled_outbox(cause, &self.config);
        match peers.get_mut(&sender) {
            Some(peer) => {
                peer.is_muted = true;
                peer.outbox.close(close);
            }
            // The frames of a sender that has left must not cause the receiver to be closed either.
            None => *absent = Some(Box::new((sender, close))),
        }
        Some(frame).filter(|frame| frame.sender() != sender)
    }

    /// Locks the state. A panic under the lock is a bug in the reducer, and leaves a state that cannot be trusted. The
    /// next lock closes all peers of this room and starts with an empty group. Other rooms are not affected.
    #[cfg(all(test, feature = "cluster"))]
    pub(in crate::hub) fn lock_for_test(&self) -> impl Sized + '_ {
        self.lock()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        #[cfg(test)]
        crate::hub::sync::count_lock();
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.close_all(&CloseCode::Internal.into());
            state.peers.clear();
            state.actions.clear();
            self.restart_group(&mut state.group);
            self.state.clear_poison();
            state
        })
    }

    /// Replaces a group that cannot be trusted by an empty one.
    fn restart_group(&self, group: &mut RoomGroup) {
        match group {
            RoomGroup::Local(group) => {
                group.link_ids().for_each(|id| self.link_ids.release(id));
                *group = Group::with_eviction_min_age(self.config.eviction_min_age);
            }
            #[cfg(feature = "cluster")]
            RoomGroup::Clustered(clustered) => clustered.restart(&self.link_ids),
        }
    }
}

impl RoomGroup {
    /// Returns the roles of a peer of this room.
    fn peer(&self, peer: PeerId) -> Option<PeerRoles> {
        match self {
            Self::Local(group) => group.peer(peer),
            #[cfg(feature = "cluster")]
            Self::Clustered(clustered) => clustered.group.peer(peer),
        }
    }

    /// Returns the number of members in this room.
    fn member_count(&self) -> usize {
        match self {
            Self::Local(group) => group.member_count(),
            #[cfg(feature = "cluster")]
            Self::Clustered(clustered) => clustered.group.member_count(),
        }
    }

    /// Returns the number of links that have at least one end in this room.
    fn link_count(&self) -> usize {
        match self {
            Self::Local(group) => group.link_count(),
            #[cfg(feature = "cluster")]
            Self::Clustered(clustered) => clustered.group.link_count(),
        }
    }
}

impl State {
    fn new(group: RoomGroup) -> Self {
        Self { group, peers: Peers::default(), actions: Vec::new() }
    }

    fn close_all(&self, close: &Close) {
        self.peers.values().for_each(|peer| peer.outbox.close(close.clone()));
    }
}

#[cfg(test)]
mod tests;
