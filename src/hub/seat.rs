//! A peer's place in a room, for as long as it is held.

use std::sync::Arc;

use super::closing::Closing;
use super::outbox::Outbox;
use super::room::Room;
use super::stats::Count;
use super::{Guard, Limits, Refusal, Shared, Ticket};
use crate::protocol::{CloseCode, Event, PeerId, Request};

/// What makes a socket a peer. Dropping it is the one way out of a room: however a connection ends, by its peer, by
/// the hub, by a cancelled future or by a panic, this leaves no ghost.
pub(super) struct Seat {
    shared: Arc<Shared>,
    room: Arc<Room>,
    peer: PeerId,
    outbox: Arc<Outbox>,
    _ticket: Arc<Ticket>,
    _count: Count,
}

impl Seat {
    /// Takes a seat in the room of the ticket's key, or says how to close who cannot have one.
    pub(super) fn take(shared: &Arc<Shared>, ticket: Ticket) -> Result<Self, Closing> {
        let Limits { max_groups, max_peers_per_group, .. } = shared.limits;
        let Some(room) = shared.registry.enter(&ticket.key, max_groups) else {
            let reason = format!("there are {max_groups} groups already");
            return Err(Closing::by(Guard::MaxGroups, CloseCode::TryAgainLater, reason));
        };
        let (peer, outbox) = (shared.next_peer(), Arc::default());
        if !room.join(peer, ticket.favored, &outbox, &shared.limits, &shared.link_ids) {
            shared.registry.exit(&room);
            let reason = format!("the group has {max_peers_per_group} peers already");
            return Err(Closing::by(Guard::MaxPeersPerGroup, CloseCode::TryAgainLater, reason));
        }
        let count = Count::up(&shared.counters.seats);
        let seat = Self { shared: shared.clone(), room, peer, outbox, _ticket: ticket.into(), _count: count };
        // After the seat is taken: a drain says so and then looks at the seats, so one of the two sees the other.
        if shared.is_leaving() {
            return Err(Refusal::leaving().closing);
        }
        Ok(seat)
    }

    pub(super) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Brings what the peer asks before its group.
    pub(super) fn request(&self, request: Request) {
        let Shared { limits, link_ids, registry, .. } = &*self.shared;
        let peer = self.peer;
        match request {
            Request::Connect { id, members } => {
                let connect = Event::Connect { peer, id, members, fresh: link_ids.fresh() };
                self.room.handle(peer, connect, limits, link_ids);
            }
            Request::Content { recipient, last, data } => {
                let content = Event::Content { peer, recipient, last, data };
                if self.room.handle(peer, content, limits, link_ids) {
                    registry.count_relayed(&self.room);
                }
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.leave(self.peer, &self.shared.limits, &self.shared.link_ids);
        self.shared.registry.exit(&self.room);
    }
}
