//! Keeps a peer in its room until the guard is dropped.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use super::grant::{AdmittedPeer, Grant};
use crate::hub::admission::ip_limiter::IpSlot;
use crate::hub::admission::permit::PeerSlot;
use crate::hub::admission::rejection::Rejection;
use crate::hub::close::{Close, DisconnectReason};
use crate::hub::isolate::isolate;
use crate::hub::limits::Cause;
use crate::hub::limits::count::CountGuard;
use crate::hub::observability::events::HubEvent;
use crate::hub::observability::key_hash::KeyHash;
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
    /// The last reference, because the room's one is dropped when the peer leaves. So the values of the app in it are
    /// dropped with the guard, after everything else is done.
    slot: Arc<PeerSlot>,
    grant: Option<Box<Grant>>,
    span: Span,
    /// Why the peer left. `None` if its future was dropped. Boxed, because every connected peer reserves space for it.
    reason: Option<Box<DisconnectReason>>,
    /// `None` only while the guard is dropped.
    count: Option<CountGuard>,
}

impl PeerGuard {
    /// Joins the room of the peer's key.
    ///
    /// Boxed, because each function that passes it on would reserve space for it in every peer's future.
    ///
    /// # Errors
    /// The rejection, if the join would exceed `max_groups` or `max_peers_per_group`.
    pub(in crate::hub) fn new(shared: &Arc<Shared>, admitted: AdmittedPeer) -> Result<Box<Self>, Rejection> {
        let (peer, outbox) = admitted.id_and_outbox(shared);
        let AdmittedPeer { grant, slot } = admitted;
        let room = shared.registry.acquire(&slot.key);
        let room = room.map_err(|rejection| shared.record_rejection(rejection, &slot))?;
        // The guard exists before any code of the app runs, so a panic there removes the peer.
        let mut guard = Box::new(Self {
            shared: shared.clone(),
            room,
            peer,
            outbox,
            slot: Arc::new(slot),
            grant,
            span: Span::none(),
            reason: None,
            count: Some(CountGuard::new(&shared.counters.peers)),
        });
        // Before the join, so that an app that sees the peer can close it.
        shared.peer_index.insert(guard.peer, &guard.outbox);
        guard.room.join(guard.peer, &guard.slot, &guard.outbox);
        // After the join, see `Draining`.
        if shared.is_draining() {
            guard.outbox.close(Close::draining());
        }
        if let Some(grant) = &guard.grant {
            grant.replace_oldest();
        }
        guard.report_join();
        Ok(guard)
    }

    /// Returns the span of all log lines of this peer.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Returns when the peer is closed because its session expires. `None`: never.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.grant.as_ref()?.expires()
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
        let Shared { metrics, registry, .. } = &*self.shared;
        // Relays are not timed: reading the clock would cost more than the relay.
        let timer = matches!(request, Request::Connect { .. }).then(|| metrics.start_timer());
        let may_change_links = !matches!(request, Request::Content { last: false, .. });
        let outcome = self.room.handle(self.peer, request, now);
        if let Some(timer) = timer {
            metrics.group_event(timer.elapsed());
        }
        if may_change_links {
            registry.report_gauges();
        }
        match outcome {
            Outcome::Answered { member } => {
                self.shared.report_answer(self.peer, &self.slot.key, member);
            }
            Outcome::Relayed { bytes } => {
                metrics.relayed(bytes);
                registry.count_relayed_message(&self.room);
            }
            Outcome::Nothing => {}
        }
    }

    /// Returns whether a `connect` of the peer waits for its answer, because other nodes may have members of the group.
    #[cfg(feature = "cluster")]
    pub(super) fn awaits_answer(&self) -> bool {
        self.room.awaits_answer(self.peer)
    }

    /// Removes the peer from its room, reports the reason, and returns the peer's outbox, which receives nothing more.
    pub(super) fn leave(mut self, reason: DisconnectReason) -> Arc<Outbox> {
        self.reason = Some(Box::new(reason));
        self.outbox.clone()
    }

    fn report_join(&mut self) {
        let Shared { events, metrics, registry, .. } = &*self.shared;
        events.push(|| HubEvent::PeerJoined {
            peer: self.peer,
            key: self.slot.key.clone(),
            identity: self.slot.shared_identity(),
            client_ip: self.slot.client_ip(),
            data: self.slot.shared_data(),
        });
        metrics.joined();
        registry.report_gauges();
        let group = KeyHash(registry.hash(&self.slot.key));
        let (hub, identity) = (self.shared.name(), self.slot.identity());
        self.span = tracing::debug_span!("peer", hub, id = self.peer.0, %group, identity);
        tracing::debug!(parent: &self.span, "peer joined");
        events.wake_readers();
    }
}

impl Drop for PeerGuard {
    /// Removes the peer, and then reports the disconnect. Afterwards the fields are dropped, with the values of the
    /// app. A panic in the app's recorder, subscriber, waker or values skips nothing else, and does not abort the
    /// process if the guard is dropped because of another panic.
    fn drop(&mut self) {
        let Shared { counters, events, metrics, peer_index, registry, .. } = &*self.shared;
        let reason = self.reason.take();
        let reason = reason.as_deref().unwrap_or(&DisconnectReason::Cancelled);
        let (timer, now) = (metrics.start_timer(), self.shared.clock());
        self.room.leave(self.peer, now);
        let leave_time = timer.elapsed();
        peer_index.remove(self.peer);
        self.grant = None;
        if let Some(cause) = reason.cause() {
            counters.count_close(cause);
        }
        events.push(|| HubEvent::PeerLeft {
            peer: self.peer,
            key: self.slot.key.clone(),
            identity: self.slot.shared_identity(),
            client_ip: self.slot.client_ip(),
            reason: reason.clone(),
            duration: now.saturating_sub(self.slot.since()),
            data: self.slot.shared_data(),
        });
        registry.release(&self.room);
        self.count = None;

        let span = std::mem::replace(&mut self.span, Span::none());
        isolate(|| events.wake_readers());
        isolate(|| {
            metrics.group_event(leave_time);
            metrics.left();
            registry.report_gauges();
        });
        isolate(|| self.shared.report_close(reason, self.peer, &self.slot));
        isolate(|| {
            let cause = reason.cause().map(Cause::as_str);
            let is_apps = self.outbox.close_reason().is_some_and(|close| close.is_apps_text());
            tracing::debug!(parent: &span, cause, reason = %reason.loggable(is_apps), "peer left");
        });
        isolate(|| drop(span));
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use futures::{FutureExt as _, StreamExt as _};
    use shuttle::thread;

    use super::*;
    use crate::hub::interleavings::{check_many, join};
    use crate::hub::shared::SignalingHub;

    #[test]
    fn events_of_a_group_stay_in_order_while_it_is_removed_and_created_again() {
        check_many(|| {
            let hub = SignalingHub::new();
            let mut events = hub.events();
            let peers = [(); 3].map(|()| {
                let hub = hub.clone();
                thread::spawn(move || drop(join(&hub).expect("no limit is reached")))
            });
            peers.into_iter().for_each(|peer| peer.join().expect("the thread does not panic"));
            let (mut exists, mut peers) = (false, 0);
            while let Some(Some(event)) = events.next().now_or_never() {
                match event {
                    HubEvent::GroupCreated { .. } if !exists => exists = true,
                    HubEvent::PeerJoined { .. } if exists => peers += 1,
                    HubEvent::PeerLeft { .. } if exists => peers -= 1,
                    HubEvent::GroupRemoved { .. } if exists && peers == 0 => exists = false,
                    other => panic!("unexpected event {other:?}"),
                }
            }
            assert_eq!((exists, peers), (false, 0));
        });
    }
}
