//! One group and the outboxes of its peers, behind one lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxBuildHasher;

use super::outbox::Outbox;
use super::{Limits, LinkIds};
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
    outboxes: HashMap<PeerId, Arc<Outbox>, FxBuildHasher>,
    /// What the last event brought about: empty, and kept for its memory.
    actions: Vec<Action>,
}

/// How many actions a room keeps room for. More come only when a member with many joiners leaves.
const KEPT_CAPACITY: usize = 8;

impl Room {
    pub(super) fn new(key: GroupKey, shard: usize) -> Self {
        Self { key, shard, state: Mutex::default() }
    }

    pub(super) fn key(&self) -> &GroupKey {
        &self.key
    }

    pub(super) fn shard(&self) -> usize {
        self.shard
    }

    /// Takes a peer in, unless the room is full.
    pub(super) fn join(&self, peer: PeerId, favored: bool, outbox: &Arc<Outbox>, limits: &Limits) -> bool {
        let state = &mut *self.lock();
        if state.outboxes.len() >= limits.max_peers_per_group {
            return false;
        }
        state.group.handle(Event::Join { peer, favored }, &mut state.actions);
        state.outboxes.insert(peer, outbox.clone());
        true
    }

    /// Lets an event of a peer that is here happen, and says whether anything came of it.
    pub(super) fn handle(&self, event: Event, limits: &Limits, link_ids: &LinkIds) -> bool {
        self.lock().handle(event, limits, link_ids)
    }

    /// Lets a peer go.
    pub(super) fn leave(&self, peer: PeerId, limits: &Limits, link_ids: &LinkIds) {
        let state = &mut *self.lock();
        // Nobody is here any more after a panic, see `lock`.
        if state.outboxes.remove(&peer).is_some() {
            state.handle(Event::Leave { peer }, limits, link_ids);
        }
    }

    pub(super) fn close_all(&self, code: CloseCode) {
        self.lock().close_all(code);
    }

    /// A panic under the lock is a bug in the group's rules and leaves a state that nobody can vouch for. It costs the
    /// peers of this room their sockets, and nobody else anything: they come back to a group that is empty.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.close_all(CloseCode::Internal);
            *state = State::default();
            self.state.clear_poison();
            state
        })
    }
}

impl State {
    fn handle(&mut self, event: Event, limits: &Limits, link_ids: &LinkIds) -> bool {
        self.group.handle(event, &mut self.actions);
        let mut came = false;
        for action in self.actions.drain(..) {
            match action {
                Action::Send { to, message } => {
                    came |= matches!(message, Message::Content { .. });
                    self.outboxes[&to].push(message.encode(), limits);
                }
                Action::Close { peer, code } => self.outboxes[&peer].close(code),
                Action::Release(id) => link_ids.release(id),
            }
        }
        self.actions.shrink_to(KEPT_CAPACITY);
        came
    }

    fn close_all(&self, code: CloseCode) {
        self.outboxes.values().for_each(|outbox| outbox.close(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MemberId;

    #[test]
    fn a_panic_in_one_group_closes_its_peers_and_leaves_the_room_usable() {
        let (limits, link_ids) = (Limits::default(), LinkIds::default());
        let room = Room::new(GroupKey::new("key").expect("a key"), 0);
        let outbox = Arc::new(Outbox::default());
        let peer = PeerId(1);
        assert!(room.join(peer, false, &outbox, &limits));
        let joined_twice = || room.join(peer, false, &outbox, &limits);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(joined_twice)).expect_err("a bug");

        room.leave(peer, &limits, &link_ids);
        assert_eq!(outbox.closed(), Some(CloseCode::Internal));

        let outbox = Arc::new(Outbox::default());
        assert!(room.join(peer, false, &outbox, &limits));
        let fresh = link_ids.fresh();
        let connect = Event::Connect { peer, id: MemberId(1), members: vec![], fresh };
        room.handle(connect, &limits, &link_ids);
        assert_eq!(outbox.closed(), None);
        assert_eq!(link_ids.in_use(), 0);
    }
}
