//! Interrupted connections: ICE restarts whose signals a neighbour relays.

use std::time::Instant;

use super::Mesh;
use super::action::{Action, CloseReason, ConnectionId, Reply};
use super::connection::{Connection, Interruption, Route};
use super::fingerprint;
use super::limits::{RESTART_AFTER, RESTART_AFTER_HIGHER_ID, RESTART_INTERVAL, RESTART_TIMEOUT};
use super::signal::{Body, Kind, Signal};

impl Mesh {
    /// ICE of a connection is connected or disconnected.
    pub(crate) fn ice_state(&mut self, id: ConnectionId, connected: bool, now: Instant) {
        self.set_time(now);
        let now = self.now;
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        if connected {
            neighbour.disconnected = None;
            if neighbour.interruption.take().is_some() {
                neighbour.unanswered_pings = 0;
            }
        } else {
            neighbour.disconnected.get_or_insert(now);
        }
    }

    /// Handles a signal of an open connection that arrived over a route.
    pub(super) fn receive_open(&mut self, id: ConnectionId, signal: Signal, route: Route) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(neighbour) = &connection.neighbour else { return };
        let description = match signal.body {
            Body::Candidate(candidate) => return self.add_candidate(id, candidate),
            Body::Reject(_) => return,
            Body::Description(description) => description,
        };
        let is_interrupted = neighbour.disconnected.is_some() || neighbour.unanswered_pings > 0;
        let is_same_peer = fingerprint::read(&description.sdp) == connection.fingerprint;
        let Some(relay) = route.relay() else { return };
        if neighbour.version() == 0 || !is_same_peer || !is_interrupted {
            return;
        }
        match description.kind {
            Kind::Offer if !self.ignores_offer(id) => {
                let now = self.now;
                if let Some(neighbour) = self.neighbour_mut(id) {
                    let interruption = Interruption { since: now, next_offer: None, relay: None, offered: false };
                    let interruption = neighbour.interruption.get_or_insert(interruption);
                    interruption.next_offer = None;
                    interruption.offered = false;
                }
                self.accept(id, description, Reply::Relay(relay));
            }
            Kind::Answer => {
                let offered = self.neighbour_mut(id).and_then(|it| it.interruption.as_mut());
                if offered.is_some_and(|it| std::mem::take(&mut it.offered)) {
                    self.accept(id, description, Reply::Relay(relay));
                }
            }
            Kind::Offer => {} // crosses an own one
        }
    }

    /// Perfect negotiation: the peer with the lower id ignores an offer that crosses its own one.
    pub(super) fn ignores_offer(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let interruption = connection.neighbour.as_ref().and_then(|it| it.interruption.as_ref());
        interruption.is_some_and(|it| it.offered) && self.id < connection.peer
    }

    pub(super) fn interruption_timeout(&self, connection: &Connection) -> Option<Instant> {
        let neighbour = connection.neighbour.as_ref()?;
        match &neighbour.interruption {
            Some(it) => it.next_offer.into_iter().chain([it.since + RESTART_TIMEOUT]).min(),
            // While no neighbour lists the other peer, the next list may.
            None if neighbour.version() > 0 && self.has_relay(connection.peer) => {
                Some(neighbour.disconnected? + self.restart_delay(connection.peer))
            }
            None => None,
        }
    }

    pub(super) fn check_interruption(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if self.interruption_timeout(connection).is_none_or(|at| at > self.now) {
            return;
        }
        let (peer, now) = (connection.peer, self.now);
        let interruption = connection.neighbour.as_ref().and_then(|it| it.interruption.as_ref());
        if interruption.is_some_and(|it| it.since + RESTART_TIMEOUT <= now) {
            return self.close(id, CloseReason::Lost);
        }
        let last_relay = interruption.and_then(|it| it.relay);
        let relay = self.random_relay(peer, last_relay);
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        let fresh = Interruption { since: now, next_offer: None, relay: None, offered: false };
        let interruption = neighbour.interruption.get_or_insert(fresh);
        interruption.next_offer = Some(now + RESTART_INTERVAL);
        interruption.relay = relay;
        if let Some(relay) = relay {
            interruption.offered = true;
            self.act(Action::RestartIce { connection: id, reply: Reply::Relay(relay) });
        }
    }

    fn has_relay(&self, peer: u32) -> bool {
        let lists = |(other, id): (&u32, &ConnectionId)| {
            let neighbour = self.connections.get(id).and_then(|it| it.neighbour.as_ref());
            *other != peer && neighbour.is_some_and(|it| it.lists(peer))
        };
        self.neighbours.iter().any(lists)
    }

    /// The peer with the lower id restarts first.
    fn restart_delay(&self, peer: u32) -> std::time::Duration {
        if self.id < peer { RESTART_AFTER } else { RESTART_AFTER_HIGHER_ID }
    }
}
