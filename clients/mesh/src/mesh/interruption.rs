//! Interrupted connections: ICE restarts whose signals a neighbour relays.

use std::time::Instant;

use super::Mesh;
use super::action::{Action, CloseReason, ConnectionId, Reply};
use super::connection::{Connection, Interruption, Route, Undo};
use super::fingerprint;
use super::limits::{RESTART_AFTER, RESTART_AFTER_HIGHER_ID, RESTART_INTERVAL, RESTART_TIMEOUT};
use super::signal::{Body, Description, Kind, Signal};

impl Mesh {
    /// ICE of a connection is connected or disconnected.
    pub(crate) fn ice_state(&mut self, id: ConnectionId, connected: bool, now: Instant) {
        self.set_time(now);
        let now = self.now;
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        if connected {
            neighbour.disconnected = None;
            self.end_interruption(id);
        } else {
            neighbour.disconnected.get_or_insert(now);
        }
    }

    /// A message has arrived.
    pub(super) fn heard(&mut self, id: ConnectionId) {
        if let Some(neighbour) = self.neighbour_mut(id) {
            neighbour.unanswered_pings = 0;
            self.end_interruption(id);
        }
    }

    /// Ends the interruption if ICE is connected. An own offer without an answer stays open: the other peer may have
    /// restarted ICE, so this one must, too.
    fn end_interruption(&mut self, id: ConnectionId) {
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        if neighbour.disconnected.is_some() || neighbour.interruption.take().is_none() {
            return;
        }
        neighbour.unanswered_pings = 0;
        self.repeat_offer(id, Reply::Control);
    }

    /// Sends the own offer again. Returns whether there is one.
    fn repeat_offer(&mut self, id: ConnectionId, reply: Reply) -> bool {
        let Some(offer) = self.neighbour_mut(id).and_then(|it| it.own_offer.clone()) else { return false };
        self.send_description(id, offer, reply);
        true
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
        if neighbour.version() == 0 || !is_same_peer || !is_interrupted || self.is_outdated(id, &description) {
            return;
        }
        let reply = Reply::Relay(relay);
        match description.kind {
            Kind::Offer if self.ignores_offer(id) => {
                // The own one may wait in a control channel that is interrupted again.
                self.repeat_offer(id, reply);
            }
            Kind::Answer if !self.expects_answer(id) => {} // to an offer that was repeated
            Kind::Offer | Kind::Answer => self.accept_relayed(id, description, reply),
        }
    }

    fn accept_relayed(&mut self, id: ConnectionId, description: Description, reply: Reply) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(neighbour) = &mut connection.neighbour else { return };
        neighbour.undo = Some(Undo {
            remote_version: connection.remote_version,
            own_offer: neighbour.own_offer.clone(),
            interruption: neighbour.interruption.clone(),
        });
        if description.kind == Kind::Offer {
            neighbour.interruption.get_or_insert(Interruption::new(self.now)).next_offer = None;
        }
        self.accept(id, description, reply);
    }

    /// The engine cannot use the last description. `has_offer`: the own offer can still be answered.
    ///
    /// A neighbour can change the descriptions that it relays. Such a one is ignored, so that the neighbour cannot close
    /// the connection.
    pub(crate) fn description_unusable(&mut self, id: ConnectionId, reply: Reply, has_offer: bool, now: Instant) {
        self.set_time(now);
        if !matches!(reply, Reply::Relay(_)) {
            return self.fail(id, CloseReason::Lost);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(neighbour) = &mut connection.neighbour else { return };
        let Some(undo) = neighbour.undo.take() else { return };
        connection.remote_version = undo.remote_version;
        neighbour.own_offer = undo.own_offer.filter(|_| has_offer);
        neighbour.interruption = undo.interruption;
    }

    /// Whether the other peer has sent a later description, which has arrived before this one.
    pub(super) fn is_outdated(&self, id: ConnectionId, description: &Description) -> bool {
        let last = self.connections.get(&id).map_or(0, |connection| connection.remote_version);
        description.version().is_some_and(|version| version < last)
    }

    /// Perfect negotiation: the peer with the lower id ignores an offer that crosses its own one.
    pub(super) fn ignores_offer(&self, id: ConnectionId) -> bool {
        self.expects_answer(id) && self.connections.get(&id).is_some_and(|it| self.id < it.peer)
    }

    /// Whether an own offer has no answer yet.
    pub(super) fn expects_answer(&self, id: ConnectionId) -> bool {
        let neighbour = self.connections.get(&id).and_then(|it| it.neighbour.as_ref());
        neighbour.is_some_and(|it| it.own_offer.is_some())
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
        let interruption = connection.neighbour.as_ref().and_then(|it| it.interruption.as_ref());
        if interruption.is_some_and(|it| it.since + RESTART_TIMEOUT <= self.now) {
            return self.close(id, CloseReason::Lost);
        }
        self.restart_ice(id);
    }

    /// Whether ICE is restarted. Restarts it now if that is possible: the pings are lost.
    pub(super) fn is_restarting(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let Some(neighbour) = &connection.neighbour else { return false };
        if neighbour.interruption.is_some() {
            return true;
        }
        let can_restart =
            neighbour.disconnected.is_some() && neighbour.version() > 0 && self.has_relay(connection.peer);
        if can_restart {
            self.restart_ice(id);
        }
        can_restart
    }

    /// Makes an offer, or repeats the one that has no answer yet: the answer to it would not fit another one.
    fn restart_ice(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (peer, now) = (connection.peer, self.now);
        let last_relay = connection.neighbour.as_ref().and_then(|it| it.interruption.as_ref()?.relay);
        let relay = self.random_relay(peer, last_relay);
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        let interruption = neighbour.interruption.get_or_insert(Interruption::new(now));
        interruption.next_offer = Some(now + RESTART_INTERVAL);
        interruption.relay = relay;
        let Some(relay) = relay else { return };
        let reply = Reply::Relay(relay);
        if !self.repeat_offer(id, reply) {
            self.act(Action::RestartIce { connection: id, reply });
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
