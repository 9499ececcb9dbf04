//! Keeps a peer in its room until the guard is dropped.

use std::sync::Arc;
use std::time::Duration;

use tracing::Span;

use crate::hub::admission::permit::PeerSlot;
use crate::hub::admission::rejection::Rejection;
use crate::hub::close::{Close, DisconnectReason};
use crate::hub::limits::count::CountGuard;
use crate::hub::observability::events::HubEvent;
use crate::hub::rooms::outbox::Outbox;
use crate::hub::rooms::room::Room;
use crate::hub::shared::Shared;
use crate::protocol::{Event, Outcome, PeerId, Request};

/// A joined peer. Dropping the guard is the only way out of a room. It removes the peer whether its connection ends by
/// the peer, by the hub, by a cancelled future or by a panic.
pub(in crate::hub) struct PeerGuard {
    shared: Arc<Shared>,
    room: Arc<Room>,
    peer: PeerId,
    outbox: Arc<Outbox>,
    slot: Arc<PeerSlot>,
    /// Contains a hash of the key: the key itself may be all that protects a group.
    span: Span,
    reason: DisconnectReason,
    _count: CountGuard,
}

impl PeerGuard {
    /// Joins the room of the slot's key, unless that would exceed a limit.
    ///
    /// Boxed, because each function that passes it on would reserve space for it in every peer's future.
    pub(in crate::hub) fn new(shared: &Arc<Shared>, slot: PeerSlot) -> Result<Box<Self>, Rejection> {
        let key = &slot.key;
        let room = shared.registry.acquire(key, &shared.config, || {
            shared.metrics.group_created();
            shared.events.emit(|| HubEvent::GroupCreated { key: key.clone() });
        })?;
        let (peer, outbox, slot) = (shared.next_peer(), Arc::default(), Arc::new(slot));
        room.join(peer, &slot, &outbox, &shared.link_ids);
        let hash = format!("{:016x}", shared.registry.hash(&slot.key));
        let span = tracing::debug_span!("peer", id = peer.0, group = %hash, identity = slot.identity());
        let guard = Box::new(Self {
            shared: shared.clone(),
            room,
            peer,
            outbox,
            slot,
            span,
            reason: DisconnectReason::Cancelled,
            _count: CountGuard::new(&shared.counters.peers),
        });
        guard.joined();
        // After the join: a drain sets the flag and then collects the peers, so one of the two sees the other.
        if shared.is_draining() {
            guard.outbox.close(Close::draining());
        }
        Ok(guard)
    }

    fn joined(&self) {
        self.shared.events.emit(|| HubEvent::PeerJoined {
            peer: self.peer,
            key: self.slot.key.clone(),
            identity: self.slot.shared_identity(),
            client_ip: self.slot.client_ip(),
        });
        self.shared.metrics.joined();
        self.span.in_scope(|| tracing::debug!("peer joined"));
    }

    /// Returns the span of all log lines of this peer.
    pub(in crate::hub) fn span(&self) -> &Span {
        &self.span
    }

    /// Sets the reason that is reported when the guard is dropped. Default: [`DisconnectReason::Cancelled`].
    pub(in crate::hub) fn set_reason(&mut self, reason: DisconnectReason) {
        self.reason = reason;
    }

    pub(in crate::hub) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Applies a request of the peer to its group.
    pub(in crate::hub) fn request(&self, request: Request, now: Duration) {
        let Shared { config, link_ids, metrics, registry, events, .. } = &*self.shared;
        let peer = self.peer;
        match request {
            Request::Connect { id, members } => {
                let connect = Event::Connect { peer, id, members, new_link: link_ids.allocate(), now };
                let timer = metrics.start_timer();
                let outcome = self.room.handle(peer, connect, config, link_ids);
                metrics.stop_timer(timer);
                if let Outcome::Answered { member } = outcome {
                    metrics.connect_answered(member);
                    tracing::debug!(member, "connect answered");
                    events.emit(|| HubEvent::ConnectAnswered { peer, key: self.slot.key.clone(), member });
                }
            }
            Request::Content { recipient, last, data } => {
                let content = Event::Content { peer, recipient, last, data };
                if let Outcome::Relayed { bytes } = self.room.handle(peer, content, config, link_ids) {
                    metrics.relayed(bytes);
                    registry.count_relayed_message(&self.room);
                }
            }
        }
    }
}

impl Drop for PeerGuard {
    fn drop(&mut self) {
        let Shared { events, config, link_ids, metrics, registry, .. } = &*self.shared;
        let (peer, key, reason) = (self.peer, &self.slot.key, &self.reason);
        let timer = metrics.start_timer();
        self.room.leave(peer, config, link_ids);
        metrics.stop_timer(timer);
        self.span.in_scope(|| tracing::debug!(%reason, "peer left"));
        events.emit(|| HubEvent::PeerLeft {
            peer,
            key: key.clone(),
            identity: self.slot.shared_identity(),
            reason: reason.clone(),
        });
        metrics.left();
        registry.release(&self.room, || {
            metrics.group_removed();
            events.emit(|| HubEvent::GroupRemoved { key: key.clone() });
        });
    }
}
