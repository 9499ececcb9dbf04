//! One group and the outboxes of its peers, behind one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use super::link_ids::LinkIdPool;
use super::outbox::Outbox;
use crate::hub::admission::permit::PeerSlot;
use crate::hub::close::Close;
use crate::hub::limits::config::Config;
use crate::hub::observability::snapshot::{GroupSnapshot, PeerSnapshot};
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::{Action, CloseCode, Event, Group, GroupKey, Outcome, PeerId};

/// Where a group's events happen one after the other.
///
/// What an event brings about goes into the outboxes under the lock that decided it, so that two events never reach a
/// peer in the wrong order. Pushing never waits, and nothing awaits under the lock.
#[derive(Debug)]
pub(in crate::hub) struct Room {
    key: GroupKey,
    /// Where the registry keeps it.
    shard: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    group: Group,
    peers: HashMap<PeerId, RoomPeer, FxBuildHasher>,
    /// What the last event brought about: empty, and kept for its memory.
    actions: Vec<Action>,
}

/// What a room knows of a peer beside its part in the group.
#[derive(Debug)]
struct RoomPeer {
    outbox: Arc<Outbox>,
    slot: Arc<PeerSlot>,
}

/// How many actions a room keeps room for. More come only when a member with many joiners leaves.
const KEPT_CAPACITY: usize = 8;

impl Room {
    pub(in crate::hub) fn new(key: GroupKey, shard: usize, eviction_min_age: Duration) -> Self {
        let state = State { group: Group::with_eviction_min_age(eviction_min_age), ..State::default() };
        Self { key, shard, state: Mutex::new(state) }
    }

    pub(in crate::hub) fn key(&self) -> &GroupKey {
        &self.key
    }

    pub(in crate::hub) fn shard(&self) -> usize {
        self.shard
    }

    /// Takes a peer in.
    pub(in crate::hub) fn join(&self, peer: PeerId, slot: &Arc<PeerSlot>, outbox: &Arc<Outbox>, link_ids: &LinkIdPool) {
        let state = &mut *self.lock(link_ids);
        state.group.handle(Event::Join { peer, favored: slot.favored }, &mut state.actions);
        state.peers.insert(peer, RoomPeer { outbox: outbox.clone(), slot: slot.clone() });
    }

    /// Lets an event of `peer` happen, and says what came of it.
    pub(in crate::hub) fn handle(&self, peer: PeerId, event: Event, config: &Config, link_ids: &LinkIdPool) -> Outcome {
        let mut state = self.lock(link_ids);
        if state.peers.contains_key(&peer) {
            return state.handle(event, config, link_ids);
        }
        // It was here before a panic, see `lock`, and does not know yet that it is closed.
        if let Event::Connect { new_link, .. } = event {
            link_ids.release(new_link);
        }
        Outcome::Nothing
    }

    /// Lets a peer go.
    pub(in crate::hub) fn leave(&self, peer: PeerId, config: &Config, link_ids: &LinkIdPool) {
        let state = &mut *self.lock(link_ids);
        // Nobody is here any more after a panic, see `lock`.
        if state.peers.remove(&peer).is_some() {
            state.handle(Event::Leave { peer }, config, link_ids);
        }
    }

    /// Closes all peers, and says how many they are.
    pub(in crate::hub) fn close_all(&self, closing: &Close, link_ids: &LinkIdPool) -> usize {
        let state = self.lock(link_ids);
        state.close_all(closing);
        state.peers.len()
    }

    /// Closes a peer, and says whether it was here.
    pub(in crate::hub) fn close(&self, peer: PeerId, closing: Close, link_ids: &LinkIdPool) -> bool {
        let state = self.lock(link_ids);
        let seated = state.peers.get(&peer);
        seated.inspect(|seated| seated.outbox.close(closing)).is_some()
    }

    pub(in crate::hub) fn peers(&self, link_ids: &LinkIdPool) -> Vec<PeerId> {
        self.lock(link_ids).peers.keys().copied().collect()
    }

    pub(in crate::hub) fn group_snapshot(&self, key_hash: u64, link_ids: &LinkIdPool) -> GroupSnapshot {
        let state = self.lock(link_ids);
        let (peers, members, links) = (state.group.peer_count(), state.group.member_count(), state.group.link_count());
        GroupSnapshot { key: self.key.clone(), key_hash, peers, members, links }
    }

    pub(in crate::hub) fn peer_snapshots(&self, now: Duration, link_ids: &LinkIdPool) -> Vec<PeerSnapshot> {
        let state = self.lock(link_ids);
        let snapshot = |(&peer, seated): (&PeerId, &RoomPeer)| {
            let roles = state.group.peer(peer)?;
            let waiting = seated.outbox.queued();
            Some(PeerSnapshot {
                id: peer,
                identity: seated.slot.shared_identity(),
                client_ip: seated.slot.client_ip(),
                age: now.saturating_sub(seated.slot.since),
                member_id: roles.member_id,
                is_bound: roles.link.is_some(),
                joiners: roles.joiners,
                queued_messages: waiting.0,
                queued_bytes: waiting.1,
            })
        };
        state.peers.iter().filter_map(snapshot).collect()
    }

    /// A panic under the lock is a bug in the group's rules and leaves a state that nobody can vouch for. It costs the
    /// peers of this room their sockets, and nobody else anything: they come back to a group that is empty.
    fn lock(&self, link_ids: &LinkIdPool) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.close_all(&CloseCode::Internal.into());
            state.group.link_ids().for_each(|id| link_ids.release(id));
            let group = Group::with_eviction_min_age(state.group.eviction_min_age());
            *state = State { group, ..State::default() };
            self.state.clear_poison();
            state
        })
    }
}

impl State {
    fn handle(&mut self, event: Event, config: &Config, link_ids: &LinkIdPool) -> Outcome {
        let outcome = self.group.handle(event, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Send { to, message } => self.peers[&to].outbox.push(message.encode(), config),
                Action::Close { peer, code } => self.peers[&peer].outbox.close(code.into()),
                Action::ReleaseLink(id) => link_ids.release(id),
            }
        }
        self.actions.shrink_to(KEPT_CAPACITY);
        outcome
    }

    fn close_all(&self, closing: &Close) {
        self.peers.values().for_each(|seated| seated.outbox.close(closing.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MemberId;

    /// A room, and what it is handed with every event.
    struct Scene {
        room: Room,
        config: Config,
        link_ids: LinkIdPool,
    }

    impl Scene {
        fn new() -> Self {
            let room = Room::new(GroupKey::new("key").expect("a key"), 0, Duration::ZERO);
            Self { room, config: Config::default(), link_ids: LinkIdPool::default() }
        }

        fn join(&self, peer: u64) -> Arc<Outbox> {
            let outbox = Arc::default();
            self.room.join(PeerId(peer), &Arc::new(PeerSlot::of("key")), &outbox, &self.link_ids);
            outbox
        }

        fn connect(&self, peer: u64) {
            let (id, new_link) = (MemberId(peer as u32), self.link_ids.allocate());
            let connect = Event::Connect { peer: PeerId(peer), id, members: vec![], new_link, now: Duration::ZERO };
            self.room.handle(PeerId(peer), connect, &self.config, &self.link_ids);
        }

        fn leave(&self, peer: u64) {
            self.room.leave(PeerId(peer), &self.config, &self.link_ids);
        }
    }

    #[test]
    fn a_leave_of_a_member_with_many_joiners_leaves_no_memory_behind() {
        let scene = Scene::new();
        for peer in 1..=1000 {
            scene.join(peer);
            scene.connect(peer);
        }
        scene.leave(1);
        assert_eq!(scene.link_ids.in_use(), 0);
        let kept = scene.room.lock(&scene.link_ids).actions.capacity();
        assert!(kept <= 2 * KEPT_CAPACITY, "{kept}");
    }

    #[test]
    fn a_panic_in_one_group_closes_its_peers_and_leaves_the_room_usable() {
        let scene = Scene::new();
        let before = [scene.join(1), scene.join(2)];
        scene.connect(1);
        scene.connect(2);
        assert_eq!(scene.link_ids.in_use(), 1);
        let bug = || scene.join(1);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(bug)).expect_err("a bug: it joined twice");

        let after = scene.join(3);
        assert_eq!(before.map(|outbox| outbox.closed()), [Some(CloseCode::Internal); 2]);
        assert_eq!(scene.link_ids.in_use(), 0);
        // Those that were here still say something, and then go.
        scene.connect(1);
        scene.leave(1);
        scene.connect(3);
        assert_eq!((after.closed(), scene.link_ids.in_use()), (None, 0));
    }
}
