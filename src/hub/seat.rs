//! A peer's place in a room, for as long as it is held.

use std::sync::Arc;
use std::time::Duration;

use tracing::Span;

use super::closing::Closing;
use super::outbox::Outbox;
use super::room::{Outcome, Room};
use super::stats::Count;
use super::{Departure, HubEvent, Refusal, Shared, Ticket};
use crate::protocol::{CloseCode, Event, PeerId, Request};

/// What makes a socket a peer. Dropping it is the one way out of a room: however a connection ends, by its peer, by
/// the hub, by a cancelled future or by a panic, this leaves no ghost.
pub(super) struct Seat {
    shared: Arc<Shared>,
    room: Arc<Room>,
    peer: PeerId,
    outbox: Arc<Outbox>,
    ticket: Arc<Ticket>,
    /// Has no key, which may be all that protects a group.
    span: Span,
    /// Why it is given up.
    departure: Departure,
    _count: Count,
}

impl Seat {
    /// Takes a seat in the room of the ticket's key, or says how to close who cannot have one.
    ///
    /// Boxed, as it is handed on: each hand would keep room for it in every peer's future.
    pub(super) fn take(shared: &Arc<Shared>, ticket: Ticket) -> Result<Box<Self>, Closing> {
        let key = &ticket.key;
        let room = shared.registry.enter(key, &shared.limits, || {
            shared.meters.group_created();
            shared.listeners.tell(|| HubEvent::GroupCreated { key: key.clone() });
        })?;
        let (peer, outbox, ticket) = (shared.next_peer(), Arc::default(), Arc::new(ticket));
        room.join(peer, &ticket, &outbox, &shared.link_ids);
        let (count, departure) = (Count::up(&shared.counters.seats), Departure::Dropped);
        let group = shared.registry.hash(&ticket.key);
        let group = format_args!("{group:016x}");
        let span = tracing::debug_span!("peer", peer = peer.0, %group, identity = ticket.identity());
        let mut seat =
            Box::new(Self { shared: shared.clone(), room, peer, outbox, ticket, span, departure, _count: count });
        seat.opened();
        // After the seat is taken: a drain says so and then looks at the seats, so one of the two sees the other.
        if shared.is_leaving() {
            seat.departure = Departure::Closed(CloseCode::GoingAway);
            return Err(Refusal::leaving().closing);
        }
        Ok(seat)
    }

    fn opened(&self) {
        let Ticket { key, .. } = &*self.ticket;
        let listeners = &self.shared.listeners;
        listeners.tell(|| HubEvent::Opened {
            peer: self.peer,
            key: key.clone(),
            identity: self.ticket.shared_identity(),
            address: self.ticket.address(),
        });
        self.shared.meters.opened();
        self.span.in_scope(|| tracing::debug!("opened"));
    }

    /// What every log line of this peer says of it.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Says why it is given up.
    pub(super) fn departs(&mut self, departure: Departure) {
        self.departure = departure;
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Brings what the peer asks before its group.
    pub(super) fn request(&self, request: Request, now: Duration) {
        let Shared { limits, link_ids, meters, registry, .. } = &*self.shared;
        let peer = self.peer;
        match request {
            Request::Connect { id, members } => {
                let connect = Event::Connect { peer, id, members, fresh: link_ids.fresh(), now };
                let watch = meters.reducer_starts();
                let outcome = self.room.handle(peer, connect, limits, link_ids);
                meters.reducer_ends(watch);
                if let Outcome::Answered { admitted } = outcome {
                    meters.answered(admitted);
                    tracing::debug!(admitted, "asked");
                    let key = || self.ticket.key.clone();
                    self.shared.listeners.tell(|| match admitted {
                        true => HubEvent::Admitted { peer, key: key() },
                        false => HubEvent::Bound { peer, key: key() },
                    });
                }
            }
            Request::Content { recipient, last, data } => {
                let content = Event::Content { peer, recipient, last, data };
                if let Outcome::Relayed { bytes } = self.room.handle(peer, content, limits, link_ids) {
                    meters.relayed(bytes);
                    registry.count_relayed(&self.room);
                }
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { peer, departure, .. } = *self;
        let Shared { listeners, limits, link_ids, meters, registry, .. } = &*self.shared;
        let key = &self.ticket.key;
        let watch = meters.reducer_starts();
        self.room.leave(peer, limits, link_ids);
        meters.reducer_ends(watch);
        self.span.in_scope(|| tracing::debug!(?departure, "left"));
        let identity = || self.ticket.shared_identity();
        listeners.tell(|| HubEvent::Left { peer, key: key.clone(), identity: identity(), departure });
        meters.left();
        registry.exit(&self.room, || {
            meters.group_gone();
            listeners.tell(|| HubEvent::GroupGone { key: key.clone() });
        });
    }
}
