//! Keeps a peer in its room until the guard is dropped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::Span;

use crate::hub::admission::ip_limiter::IpSlot;
use crate::hub::admission::permit::PeerSlot;
use crate::hub::admission::rejection::Rejection;
use crate::hub::close::{Close, DisconnectReason};
use crate::hub::limits::Cause;
use crate::hub::limits::count::CountGuard;
use crate::hub::observability::events::HubEvent;
use crate::hub::rooms::outbox::Outbox;
use crate::hub::rooms::room::Room;
use crate::hub::shared::Shared;
use crate::protocol::{Outcome, PeerId, Request};

/// A joined peer. Dropping the guard removes the peer from its room, and nothing else does. This covers a close by
/// either side, a lost connection, a dropped future and a panic.
pub(in crate::hub) struct PeerGuard {
    shared: Arc<Shared>,
    room: Arc<Room>,
    peer: PeerId,
    outbox: Arc<Outbox>,
    slot: Arc<PeerSlot>,
    span: Span,
    /// Why the peer left. `None` if its future was dropped. Boxed, because every connected peer reserves space for it.
    reason: Option<Box<DisconnectReason>>,
    _count: CountGuard,
}

/// The hash of a group key in logs. The key itself may be the only secret that protects a group.
struct KeyHash(u64);

impl PeerGuard {
    /// Joins the room of the slot's key.
    ///
    /// Boxed, because each function that passes it on would reserve space for it in every peer's future.
    ///
    /// # Errors
    /// The rejection, if the join would exceed `max_groups` or `max_peers_per_group`.
    pub(in crate::hub) fn new(shared: &Arc<Shared>, slot: PeerSlot) -> Result<Box<Self>, Rejection> {
        let key = &slot.key;
        let room = shared.registry.acquire(key, || {
            shared.metrics.group_created();
            shared.events.emit(|| HubEvent::GroupCreated { key: key.clone() });
        })?;
        let (peer, outbox, slot) =
            (shared.next_peer(), Arc::new(Outbox::new(shared.outbox_budget.clone())), Arc::new(slot));
        room.join(peer, &slot, &outbox);
        let group = KeyHash(shared.registry.hash(&slot.key));
        let guard = Box::new(Self {
            shared: shared.clone(),
            room,
            peer,
            outbox,
            span: tracing::debug_span!("peer", id = peer.0, %group, identity = slot.identity()),
            slot,
            reason: None,
            _count: CountGuard::new(&shared.counters.peers),
        });
        guard.report_join();
        // After the join, see `Draining`.
        if shared.is_draining() {
            guard.outbox.close(Close::draining());
        }
        Ok(guard)
    }

    /// Returns the span of all log lines of this peer.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(in crate::hub) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Returns the peer's slot in the limits of its client IP, if that is known.
    pub(super) fn ip_slot(&self) -> Option<&IpSlot> {
        self.slot.ip_slot()
    }

    /// Applies a request of the peer to its group.
    pub(in crate::hub) fn handle(&self, request: Request, now: Duration) {
        let Shared { metrics, registry, events, .. } = &*self.shared;
        // Relays are not timed: reading the clock would cost more than the relay.
        let timer = matches!(request, Request::Connect { .. }).then(|| metrics.start_timer());
        let outcome = self.room.handle(self.peer, request, now);
        if let Some(timer) = timer {
            metrics.stop_timer(timer);
        }
        match outcome {
            Outcome::Answered { member } => {
                metrics.connect_answered(member);
                tracing::debug!(member, "connect answered");
                let (peer, key) = (self.peer, &self.slot.key);
                events.emit(|| HubEvent::ConnectAnswered { peer, key: key.clone(), member });
            }
            Outcome::Relayed { bytes } => {
                metrics.relayed(bytes);
                registry.count_relayed_message(&self.room);
            }
            Outcome::Nothing => {}
        }
    }

    /// Removes the peer from its room, reports the reason, and returns the peer's outbox, which receives nothing more.
    pub(super) fn leave(mut self, reason: DisconnectReason) -> Arc<Outbox> {
        self.reason = Some(Box::new(reason));
        self.outbox.clone()
    }

    fn report_join(&self) {
        self.shared.events.emit(|| HubEvent::PeerJoined {
            peer: self.peer,
            key: self.slot.key.clone(),
            identity: self.slot.shared_identity(),
            client_ip: self.slot.client_ip(),
        });
        self.shared.metrics.joined();
        self.span.in_scope(|| tracing::debug!("peer joined"));
    }
}

impl Drop for PeerGuard {
    fn drop(&mut self) {
        let Shared { events, metrics, registry, .. } = &*self.shared;
        let (peer, key) = (self.peer, &self.slot.key);
        let reason = self.reason.as_deref().unwrap_or(&DisconnectReason::Cancelled);
        let timer = metrics.start_timer();
        self.room.leave(peer, self.shared.clock());
        metrics.stop_timer(timer);
        let cause = reason.cause().map(Cause::as_str);
        self.span.in_scope(|| tracing::debug!(cause, %reason, "peer left"));
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

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
