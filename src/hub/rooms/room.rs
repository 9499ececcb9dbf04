//! One group and the outboxes of its peers, behind one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use super::frame_queue::QueuedFrame;
use super::link_ids::LinkIdPool;
use super::outbox::{Outbox, Overflow};
use super::outbox_budget::Holder as _;
use crate::hub::admission::permit::PeerSlot;
use crate::hub::close::Close;
use crate::hub::limits::config::Config;
use crate::hub::observability::snapshot::{GroupSnapshot, PeerSnapshot};
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::{Action, CloseCode, Event, Group, GroupKey, Outcome, PeerId, Request};

/// A group whose events are applied one after the other.
///
/// The lock under which an event is decided also covers the pushes into the outboxes. Therefore every peer receives the
/// messages of two events in the order of the events. A push never waits, and nothing awaits under the lock.
pub(in crate::hub) struct Room {
    key: GroupKey,
    /// The shard of the registry that contains the room. Stored, because hashing the key would slow every relay.
    shard: usize,
    config: Arc<Config>,
    link_ids: Arc<LinkIdPool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    group: Group,
    peers: Peers,
    /// Empty between events; kept for its capacity.
    actions: Vec<Action>,
}

type Peers = HashMap<PeerId, RoomPeer, FxBuildHasher>;

/// What a room stores about a peer in addition to its roles in the group.
struct RoomPeer {
    outbox: Arc<Outbox>,
    slot: Arc<PeerSlot>,
    /// Some of its frames were discarded, so none may follow. Its task does not know yet that it is closed.
    is_muted: bool,
}

/// The number of actions up to which a room does not release memory. Only the leave of a member with many joiners
/// needs more.
const KEPT_CAPACITY: usize = 8;

impl Room {
    pub(super) fn new(key: GroupKey, shard: usize, config: Arc<Config>, link_ids: Arc<LinkIdPool>) -> Self {
        let group = Group::with_eviction_min_age(config.eviction_min_age);
        let state = Mutex::new(State { group, ..State::default() });
        Self { key, shard, config, link_ids, state }
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
        self.apply(state, Event::Join { peer, favored: slot.favored }, slot.since);
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
        let group = &self.lock().group;
        let (peers, members, links) = (group.peer_count(), group.member_count(), group.link_count());
        GroupSnapshot { key: self.key.clone(), key_hash, peers, members, links }
    }

    pub(in crate::hub) fn peer_snapshots(&self, now: Duration) -> Vec<PeerSnapshot> {
        let state = self.lock();
        let snapshot = |(&id, RoomPeer { outbox, slot, .. }): (&PeerId, &RoomPeer)| {
            let roles = state.group.peer(id)?;
            let (queued_messages, queued_bytes) = outbox.queued();
            Some(PeerSnapshot {
                id,
                identity: slot.shared_identity(),
                client_ip: slot.client_ip(),
                age: now.saturating_sub(slot.since),
                member_id: roles.member_id,
                is_bound: roles.link.is_some(),
                joiners: roles.joiners,
                queued_messages,
                queued_bytes,
            })
        };
        state.peers.iter().filter_map(snapshot).collect()
    }

    /// Decides an event and applies its actions.
    fn apply(&self, state: &mut State, event: Event, now: Duration) -> Outcome {
        let State { group, peers, actions } = state;
        let content_sender = match event {
            Event::Content { peer, .. } => Some(peer),
            _ => None,
        };
        let outcome = group.handle(event, actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { to, message } => {
                    let frame = QueuedFrame::new(message.encode(), content_sender.unwrap_or(to), now);
                    self.push(peers, to, frame);
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
    fn push(&self, peers: &mut Peers, to: PeerId, frame: QueuedFrame) {
        let mut pushed = peers[&to].outbox.push(frame, &self.config);
        while let Err(overflow) = pushed {
            let Some(frame) = self.make_room(peers, to, overflow) else { return };
            pushed = peers[&to].outbox.push(frame, &self.config);
        }
    }

    /// Closes the peer that caused an overflow. Returns the frame, unless it must not be sent any more.
    #[cold]
    fn make_room(&self, peers: &mut Peers, to: PeerId, overflow: Overflow) -> Option<QueuedFrame> {
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
        // A sender that has left cannot be closed, but its frames must not cause the receiver to be closed either.
        if let Some(peer) = peers.get_mut(&sender) {
            peer.is_muted = true;
            peer.outbox.close(Close::filled_outbox(cause, &self.config));
        }
        Some(frame).filter(|frame| frame.sender() != sender)
    }

    /// Locks the state. A panic under the lock is a bug in the reducer, and leaves a state that cannot be trusted. The
    /// next lock closes all peers of this room and starts with an empty group. Other rooms are not affected.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.close_all(&CloseCode::Internal.into());
            state.group.link_ids().for_each(|id| self.link_ids.release(id));
            let group = Group::with_eviction_min_age(self.config.eviction_min_age);
            *state = State { group, ..State::default() };
            self.state.clear_poison();
            state
        })
    }
}

impl State {
    fn close_all(&self, close: &Close) {
        self.peers.values().for_each(|peer| peer.outbox.close(close.clone()));
    }
}

#[cfg(test)]
mod tests;
