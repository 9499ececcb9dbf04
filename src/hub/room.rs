//! One group and the outboxes of its peers, behind one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use super::closing::Closing;
use super::outbox::Outbox;
use super::sync::{Mutex, MutexGuard};
use super::{GroupSnapshot, Limits, LinkIds, PeerSnapshot, Ticket};
use crate::protocol::{Action, CloseCode, Event, Group, GroupKey, Message, PeerId};

/// Where a group's events happen one after the other.
///
/// What an event brings about goes into the outboxes under the lock that decided it, so that two events never reach a
/// peer in the wrong order. Pushing never waits, and nothing awaits under the lock.
#[derive(Debug)]
pub(super) struct Room {
    key: GroupKey,
    /// Where the registry keeps it.
    shard: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    group: Group,
    seated: HashMap<PeerId, Seated, FxBuildHasher>,
    /// What the last event brought about: empty, and kept for its memory.
    actions: Vec<Action>,
}

/// What a room knows of a peer beside its part in the group.
#[derive(Debug)]
struct Seated {
    outbox: Arc<Outbox>,
    ticket: Arc<Ticket>,
}

/// What came of what a peer asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Relayed { bytes: usize },
    Answered { admitted: bool },
}

/// How many actions a room keeps room for. More come only when a member with many joiners leaves.
const KEPT_CAPACITY: usize = 8;

impl Room {
    pub(super) fn new(key: GroupKey, shard: usize, min_stay: Duration) -> Self {
        let state = State { group: Group::with_min_stay(min_stay), ..State::default() };
        Self { key, shard, state: Mutex::new(state) }
    }

    pub(super) fn key(&self) -> &GroupKey {
        &self.key
    }

    pub(super) fn shard(&self) -> usize {
        self.shard
    }

    /// Takes a peer in.
    pub(super) fn join(&self, peer: PeerId, ticket: &Arc<Ticket>, outbox: &Arc<Outbox>, link_ids: &LinkIds) {
        let state = &mut *self.lock(link_ids);
        state.group.handle(Event::Join { peer, favored: ticket.favored }, &mut state.actions);
        state.seated.insert(peer, Seated { outbox: outbox.clone(), ticket: ticket.clone() });
    }

    /// Lets an event of `peer` happen, and says what came of it.
    pub(super) fn handle(&self, peer: PeerId, event: Event, limits: &Limits, link_ids: &LinkIds) -> Outcome {
        let mut state = self.lock(link_ids);
        if state.seated.contains_key(&peer) {
            return state.handle(event, limits, link_ids);
        }
        // It was here before a panic, see `lock`, and does not know yet that it is closed.
        if let Event::Connect { fresh, .. } = event {
            link_ids.release(fresh);
        }
        Outcome::Nothing
    }

    /// Lets a peer go.
    pub(super) fn leave(&self, peer: PeerId, limits: &Limits, link_ids: &LinkIds) {
        let state = &mut *self.lock(link_ids);
        // Nobody is here any more after a panic, see `lock`.
        if state.seated.remove(&peer).is_some() {
            state.handle(Event::Leave { peer }, limits, link_ids);
        }
    }

    /// Closes all peers, and says how many they are.
    pub(super) fn close_all(&self, closing: &Closing, link_ids: &LinkIds) -> usize {
        let state = self.lock(link_ids);
        state.close_all(closing);
        state.seated.len()
    }

    /// Closes a peer, and says whether it was here.
    pub(super) fn close(&self, peer: PeerId, closing: Closing, link_ids: &LinkIds) -> bool {
        let state = self.lock(link_ids);
        let seated = state.seated.get(&peer);
        seated.inspect(|seated| seated.outbox.close(closing)).is_some()
    }

    pub(super) fn peers(&self, link_ids: &LinkIds) -> Vec<PeerId> {
        self.lock(link_ids).seated.keys().copied().collect()
    }

    pub(super) fn group_snapshot(&self, hash: u64, link_ids: &LinkIds) -> GroupSnapshot {
        let state = self.lock(link_ids);
        let (peers, members, links) = (state.group.peers(), state.group.members(), state.group.links());
        GroupSnapshot { key: self.key.clone(), hash, peers, members, links }
    }

    pub(super) fn peer_snapshots(&self, now: Duration, link_ids: &LinkIds) -> Vec<PeerSnapshot> {
        let state = self.lock(link_ids);
        let snapshot = |(&peer, seated): (&PeerId, &Seated)| {
            let standing = state.group.standing(peer)?;
            let waiting = seated.outbox.waiting();
            Some(PeerSnapshot {
                peer,
                identity: seated.ticket.shared_identity(),
                address: seated.ticket.address(),
                age: now.saturating_sub(seated.ticket.since),
                member: standing.member,
                is_bound: standing.bound.is_some(),
                joiners: standing.joiners,
                waiting_messages: waiting.0,
                waiting_bytes: waiting.1,
            })
        };
        state.seated.iter().filter_map(snapshot).collect()
    }

    /// A panic under the lock is a bug in the group's rules and leaves a state that nobody can vouch for. It costs the
    /// peers of this room their sockets, and nobody else anything: they come back to a group that is empty.
    fn lock(&self, link_ids: &LinkIds) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.close_all(&CloseCode::Internal.into());
            state.group.link_ids().for_each(|id| link_ids.release(id));
            let group = Group::with_min_stay(state.group.min_stay());
            *state = State { group, ..State::default() };
            self.state.clear_poison();
            state
        })
    }
}

impl State {
    fn handle(&mut self, event: Event, limits: &Limits, link_ids: &LinkIds) -> Outcome {
        self.group.handle(event, &mut self.actions);
        let mut outcome = Outcome::Nothing;
        for action in self.actions.drain(..) {
            match action {
                Action::Send { to, message } => {
                    match message {
                        Message::Content { ref data, .. } => outcome = Outcome::Relayed { bytes: data.len() },
                        Message::Connected(admitted) => outcome = Outcome::Answered { admitted },
                        _ => {}
                    }
                    self.seated[&to].outbox.push(message.encode(), limits);
                }
                Action::Close { peer, code } => self.seated[&peer].outbox.close(code.into()),
                Action::Release(id) => link_ids.release(id),
            }
        }
        self.actions.shrink_to(KEPT_CAPACITY);
        outcome
    }

    fn close_all(&self, closing: &Closing) {
        self.seated.values().for_each(|seated| seated.outbox.close(closing.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MemberId;

    /// A room, and what it is handed with every event.
    struct Scene {
        room: Room,
        limits: Limits,
        link_ids: LinkIds,
    }

    impl Scene {
        fn new() -> Self {
            let room = Room::new(GroupKey::new("key").expect("a key"), 0, Duration::ZERO);
            Self { room, limits: Limits::default(), link_ids: LinkIds::default() }
        }

        fn join(&self, peer: u64) -> Arc<Outbox> {
            let outbox = Arc::default();
            self.room.join(PeerId(peer), &Arc::new(Ticket::of("key")), &outbox, &self.link_ids);
            outbox
        }

        fn connect(&self, peer: u64) {
            let (id, fresh) = (MemberId(peer as u32), self.link_ids.fresh());
            let connect = Event::Connect { peer: PeerId(peer), id, members: vec![], fresh, now: Duration::ZERO };
            self.room.handle(PeerId(peer), connect, &self.limits, &self.link_ids);
        }

        fn leave(&self, peer: u64) {
            self.room.leave(PeerId(peer), &self.limits, &self.link_ids);
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
