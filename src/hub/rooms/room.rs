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
    fn push(&self, peers: &mut Peers, to: PeerId, mut frame: QueuedFrame) {
        let outbox = peers[&to].outbox.clone();
        while let Err(overflow) = outbox.push(frame, &self.config) {
            let Overflow { frame: rejected, cause, main_sender, larger } = overflow;
            if let Some(larger) = larger {
                larger.close_full(Close::outbox_full(cause, &self.config));
                frame = rejected;
                continue;
            }
            let Some(sender) = main_sender.filter(|&sender| sender != to) else {
                return outbox.close_full(Close::outbox_full(cause, &self.config));
            };
            // A sender that has left cannot be closed, but its frames must not cause the receiver to be closed either.
            if let Some(peer) = peers.get_mut(&sender) {
                peer.is_muted = true;
                peer.outbox.close(Close::filled_outbox(cause, &self.config));
            }
            outbox.discard(sender);
            if rejected.sender() == sender {
                return;
            }
            frame = rejected;
        }
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
mod tests {
    use super::*;
    use crate::protocol::MemberId;

    fn room() -> Room {
        Room::new(GroupKey::new("key").expect("a valid key"), 0, Arc::default(), Arc::default())
    }

    fn join(room: &Room, peer: u64) -> Arc<Outbox> {
        let outbox = Outbox::new(Arc::default());
        room.join(PeerId(peer), &Arc::new(PeerSlot::of("key")), &outbox);
        outbox
    }

    fn connect(room: &Room, peer: u64) -> Outcome {
        connect_naming(room, peer, &[])
    }

    fn connect_naming(room: &Room, peer: u64, named: &[u32]) -> Outcome {
        let members = named.iter().copied().map(MemberId).collect();
        room.handle(PeerId(peer), Request::Connect { id: MemberId(peer as u32), members }, Duration::ZERO)
    }

    fn send(room: &Room, peer: u64, bytes: usize) -> Outcome {
        let request = Request::Content { recipient: 0, last: false, data: vec![0; bytes].into() };
        room.handle(PeerId(peer), request, Duration::ZERO)
    }

    /// A room with a member, and joiners that are bound to it. Peer 0 is the member.
    fn bound(joiners: u64) -> (Room, Vec<Arc<Outbox>>) {
        let config = Config { max_outbox_bytes: 10_000, ..Config::default() };
        let key = GroupKey::new("key").expect("a valid key");
        let room = Room::new(key, 0, Arc::new(config), Arc::default());
        let outboxes = (0..=joiners).map(|peer| {
            let outbox = join(&room, peer);
            connect(&room, peer);
            outbox
        });
        let outboxes = outboxes.collect();
        (room, outboxes)
    }

    fn close_codes(outboxes: &[Arc<Outbox>]) -> Vec<Option<CloseCode>> {
        outboxes.iter().map(|outbox| outbox.close_code()).collect()
    }

    #[test]
    fn peer_that_fills_an_outbox_is_closed_and_the_messages_of_others_stay() {
        let (room, outboxes) = bound(2);
        send(&room, 1, 3000);
        send(&room, 2, 5000);
        assert_eq!(send(&room, 2, 3000), Outcome::Relayed { bytes: 3000 });
        assert_eq!(send(&room, 2, 0), Outcome::Nothing, "the peer is closed, though its task does not know it yet");
        assert_eq!(close_codes(&outboxes), [None, None, Some(CloseCode::Policy)]);
        // The answer to the member's connect, and the content of the other joiner.
        assert_eq!(outboxes[0].queued().0, 2);
        room.leave(PeerId(2), Duration::ZERO);
        assert_eq!(outboxes[0].queued().0, 3, "the end of the link to the closed peer");
        send(&room, 1, 3000);
        assert_eq!(close_codes(&outboxes), [None, None, Some(CloseCode::Policy)]);
    }

    #[test]
    fn message_that_overflows_an_outbox_is_queued_if_another_peer_filled_it() {
        let (room, outboxes) = bound(2);
        send(&room, 2, 9000);
        send(&room, 1, 2000);
        assert_eq!(close_codes(&outboxes), [None, None, Some(CloseCode::Policy)]);
        let (messages, bytes) = outboxes[0].queued();
        assert_eq!((messages, bytes / 1000), (2, 2));
    }

    #[test]
    fn receiver_of_many_senders_is_closed_if_none_filled_its_outbox() {
        let (room, outboxes) = bound(3);
        for joiner in 1..=3 {
            send(&room, joiner, 3500);
        }
        assert_eq!(close_codes(&outboxes), [Some(CloseCode::TryAgainLater), None, None, None]);
        assert_eq!(outboxes[0].queued(), (0, 0));
    }

    #[test]
    fn messages_of_a_peer_that_left_do_not_close_their_receiver() {
        let (room, outboxes) = bound(2);
        send(&room, 2, 9000);
        room.leave(PeerId(2), Duration::ZERO);
        send(&room, 1, 2000);
        assert_eq!(close_codes(&outboxes), [None; 3]);
        assert_eq!(outboxes[0].queued().0, 3, "an answer, the end of a link, and a content");
    }

    #[test]
    fn peer_that_does_not_read_its_own_answers_is_closed() {
        let (room, outboxes) = bound(1);
        for _ in 0..200 {
            connect_naming(&room, 1, &[0]);
        }
        assert_eq!(close_codes(&outboxes), [None, Some(CloseCode::TryAgainLater)]);
    }

    #[test]
    fn leave_of_a_member_with_many_joiners_leaks_no_memory() {
        let room = room();
        for peer in 1..=1000 {
            join(&room, peer);
            connect(&room, peer);
        }
        room.leave(PeerId(1), Duration::ZERO);
        assert_eq!(room.link_ids.in_use(), 0);
        let kept = room.lock().actions.capacity();
        assert!(kept <= 2 * KEPT_CAPACITY, "{kept}");
    }

    #[test]
    fn panic_in_a_group_closes_its_peers_and_leaves_the_room_usable() {
        let room = room();
        let before = [join(&room, 1), join(&room, 2)];
        assert_eq!(connect(&room, 1), Outcome::Answered { member: true });
        assert_eq!(connect(&room, 2), Outcome::Answered { member: false });
        assert_eq!(room.link_ids.in_use(), 1);
        let bug = || join(&room, 1);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(bug)).expect_err("a peer must not join twice");

        let after = join(&room, 3);
        assert_eq!(before.map(|outbox| outbox.close_code()), [Some(CloseCode::Internal); 2]);
        assert_eq!(room.link_ids.in_use(), 0);
        // The tasks of the closed peers still send a request, and then leave.
        assert_eq!(connect(&room, 1), Outcome::Nothing);
        room.leave(PeerId(1), Duration::ZERO);
        assert_eq!(connect(&room, 3), Outcome::Answered { member: true });
        assert_eq!((after.close_code(), room.link_ids.in_use()), (None, 0));
    }
}
