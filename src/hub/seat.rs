//! A peer's place in a room, for as long as it is held.

use std::sync::Arc;
use std::time::Duration;

use super::closing::Closing;
use super::outbox::Outbox;
use super::room::{Outcome, Room};
use super::stats::Count;
use super::{Departure, Guard, HubEvent, Limits, Refusal, Shared, Ticket};
use crate::protocol::{CloseCode, Event, PeerId, Request};

/// What makes a socket a peer. Dropping it is the one way out of a room: however a connection ends, by its peer, by
/// the hub, by a cancelled future or by a panic, this leaves no ghost.
pub(super) struct Seat {
    shared: Arc<Shared>,
    room: Arc<Room>,
    peer: PeerId,
    outbox: Arc<Outbox>,
    ticket: Arc<Ticket>,
    /// Why it is given up.
    departure: Departure,
    _count: Count,
}

impl Seat {
    /// Takes a seat in the room of the ticket's key, or says how to close who cannot have one.
    pub(super) fn take(shared: &Arc<Shared>, ticket: Ticket) -> Result<Self, Closing> {
        let Limits { max_groups, max_peers_per_group, .. } = shared.limits;
        let Some((room, is_new)) = shared.registry.enter(&ticket.key, &shared.limits) else {
            let reason = format!("there are {max_groups} groups already");
            return Err(Closing::by(Guard::MaxGroups, CloseCode::TryAgainLater, reason));
        };
        let (peer, outbox, ticket) = (shared.next_peer(), Arc::default(), Arc::new(ticket));
        if !room.join(peer, &ticket, &outbox, &shared.limits, &shared.link_ids) {
            shared.registry.exit(&room);
            let reason = format!("the group has {max_peers_per_group} peers already");
            return Err(Closing::by(Guard::MaxPeersPerGroup, CloseCode::TryAgainLater, reason));
        }
        let (count, departure) = (Count::up(&shared.counters.seats), Departure::Dropped);
        let mut seat = Self { shared: shared.clone(), room, peer, outbox, ticket, departure, _count: count };
        seat.opened(is_new);
        // After the seat is taken: a drain says so and then looks at the seats, so one of the two sees the other.
        if shared.is_leaving() {
            seat.departure = Departure::Closed(CloseCode::GoingAway);
            return Err(Refusal::leaving().closing);
        }
        Ok(seat)
    }

    fn opened(&self, is_new: bool) {
        let Ticket { key, .. } = &*self.ticket;
        let listeners = &self.shared.listeners;
        if is_new {
            listeners.tell(|| HubEvent::GroupCreated { key: key.clone() });
        }
        listeners.tell(|| HubEvent::Opened {
            peer: self.peer,
            key: key.clone(),
            identity: self.ticket.shared_identity(),
            address: self.ticket.address(),
        });
        let (group, identity) = (self.shared.registry.hash(key), self.ticket.identity());
        tracing::debug!(peer = self.peer.0, group, identity, favored = self.ticket.favored, "peer opened");
    }

    /// Gives the seat up.
    pub(super) fn leave(mut self, departure: Departure) {
        self.departure = departure;
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Brings what the peer asks before its group.
    pub(super) fn request(&self, request: Request, now: Duration) {
        let Shared { limits, link_ids, registry, .. } = &*self.shared;
        let peer = self.peer;
        match request {
            Request::Connect { id, members } => {
                let connect = Event::Connect { peer, id, members, fresh: link_ids.fresh(), now };
                if let Outcome::Answered { admitted } = self.room.handle(peer, connect, limits, link_ids) {
                    let key = || self.ticket.key.clone();
                    self.shared.listeners.tell(|| match admitted {
                        true => HubEvent::Admitted { peer, key: key() },
                        false => HubEvent::Bound { peer, key: key() },
                    });
                }
            }
            Request::Content { recipient, last, data } => {
                let content = Event::Content { peer, recipient, last, data };
                if let Outcome::Relayed { .. } = self.room.handle(peer, content, limits, link_ids) {
                    registry.count_relayed(&self.room);
                }
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { peer, departure, .. } = *self;
        let Shared { listeners, limits, link_ids, registry, .. } = &*self.shared;
        let key = &self.ticket.key;
        self.room.leave(peer, limits, link_ids);
        tracing::debug!(peer = peer.0, group = registry.hash(key), ?departure, "peer left");
        let identity = || self.ticket.shared_identity();
        listeners.tell(|| HubEvent::Left { peer, key: key.clone(), identity: identity(), departure });
        if registry.exit(&self.room) {
            listeners.tell(|| HubEvent::GroupGone { key: key.clone() });
        }
    }
}
