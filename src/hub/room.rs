//! One group and the outboxes of its peers, behind one lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxBuildHasher;

use super::closing::Closing;
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
    pub(super) fn join(
        &self,
        peer: PeerId,
        favored: bool,
        outbox: &Arc<Outbox>,
        limits: &Limits,
        link_ids: &LinkIds,
    ) -> bool {
        let state = &mut *self.lock(link_ids);
        if state.outboxes.len() >= limits.max_peers_per_group {
            return false;
        }
        state.group.handle(Event::Join { peer, favored }, &mut state.actions);
        state.outboxes.insert(peer, outbox.clone());
        true
    }

    /// Lets an event of `peer` happen, and says whether a content came of it.
    pub(super) fn handle(&self, peer: PeerId, event: Event, limits: &Limits, link_ids: &LinkIds) -> bool {
        let mut state = self.lock(link_ids);
        if state.outboxes.contains_key(&peer) {
            return state.handle(event, limits, link_ids);
        }
        // It was here before a panic, see `lock`, and does not know yet that it is closed.
        if let Event::Connect { fresh, .. } = event {
            link_ids.release(fresh);
        }
        false
    }

    /// Lets a peer go.
    pub(super) fn leave(&self, peer: PeerId, limits: &Limits, link_ids: &LinkIds) {
        let state = &mut *self.lock(link_ids);
        // Nobody is here any more after a panic, see `lock`.
        if state.outboxes.remove(&peer).is_some() {
            state.handle(Event::Leave { peer }, limits, link_ids);
        }
    }

    pub(super) fn close_all(&self, closing: &Closing, link_ids: &LinkIds) {
        self.lock(link_ids).close_all(closing);
    }

    /// A panic under the lock is a bug in the group's rules and leaves a state that nobody can vouch for. It costs the
    /// peers of this room their sockets, and nobody else anything: they come back to a group that is empty.
    fn lock(&self, link_ids: &LinkIds) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.close_all(&CloseCode::Internal.into());
            state.group.link_ids().for_each(|id| link_ids.release(id));
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
                Action::Close { peer, code } => self.outboxes[&peer].close(code.into()),
                Action::Release(id) => link_ids.release(id),
            }
        }
        self.actions.shrink_to(KEPT_CAPACITY);
        came
    }

    fn close_all(&self, closing: &Closing) {
        self.outboxes.values().for_each(|outbox| outbox.close(closing.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MemberId;

    #[test]
    fn a_leave_of_a_member_with_many_joiners_leaves_no_memory_behind() {
        let (limits, link_ids) = (Limits::default(), LinkIds::default());
        let room = Room::new(GroupKey::new("key").expect("a key"), 0);
        for peer in 1..=1000 {
            assert!(room.join(PeerId(peer), false, &Arc::default(), &limits, &link_ids));
            let id = MemberId(peer as u32);
            let event = Event::Connect { peer: PeerId(peer), id, members: vec![], fresh: link_ids.fresh() };
            room.handle(PeerId(peer), event, &limits, &link_ids);
        }
        room.leave(PeerId(1), &limits, &link_ids);
        assert_eq!(link_ids.in_use(), 0);
        let kept = room.lock(&link_ids).actions.capacity();
        assert!(kept <= 2 * KEPT_CAPACITY, "{kept}");
    }

    #[test]
    fn a_panic_in_one_group_closes_its_peers_and_leaves_the_room_usable() {
        let (limits, link_ids) = (Limits::default(), LinkIds::default());
        let room = Room::new(GroupKey::new("key").expect("a key"), 0);
        let join = |peer| {
            let outbox = Arc::new(Outbox::default());
            assert!(room.join(PeerId(peer), false, &outbox, &limits, &link_ids));
            outbox
        };
        let connect = |peer| {
            let id = MemberId(peer as u32);
            let event = Event::Connect { peer: PeerId(peer), id, members: vec![], fresh: link_ids.fresh() };
            room.handle(PeerId(peer), event, &limits, &link_ids);
        };
        let before = [join(1), join(2)];
        connect(1);
        connect(2);
        assert_eq!(link_ids.in_use(), 1);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| join(1))).expect_err("a bug: it joined twice");

        let after = join(3);
        assert_eq!(before.map(|outbox| outbox.closed()), [Some(CloseCode::Internal); 2]);
        assert_eq!(link_ids.in_use(), 0);
        // Those that were here still say something, and then go.
        connect(1);
        room.leave(PeerId(1), &limits, &link_ids);
        connect(3);
        assert_eq!((after.closed(), link_ids.in_use()), (None, 0));
    }
}
