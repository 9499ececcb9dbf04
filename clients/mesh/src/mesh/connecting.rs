//! Attempts to connect, and the signals that belong to them.

use std::time::Instant;

use serde_json::Value;
use sigver::client::Remote;

use super::action::{Action, CloseReason, ConnectionId, HubAction, Reply};
use super::connection::{Connection, Route};
use super::fingerprint;
use super::limits::{MAX_ANSWERING, MAX_ANSWERING_PER_RELAY, MAX_DISCOVERING, MAX_EARLY_CANDIDATES, MIN_JOINER_SLOTS};
use super::offer::{Attempt, Offer};
use super::signal::{Body, Description, Kind, Signal};
use super::{Mesh, control};

impl Mesh {
    /// Begins an attempt with an offer. `peer` is 0 for the member that the hub bound this peer to.
    pub(super) fn begin(&mut self, peer: u32, route: Route) -> ConnectionId {
        let mut negotiation_id = self.rng.u32(..);
        while self.connections.values().any(|connection| connection.negotiation_id == negotiation_id) {
            negotiation_id = self.rng.u32(..);
        }
        self.add_connection(Connection::new(peer, negotiation_id, true, route, self.now))
    }

    fn add_connection(&mut self, connection: Connection) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let offer = connection.offerer;
        self.connections.insert(id, connection);
        self.act(Action::Connect { connection: id, offer });
        id
    }

    /// The engine has made an offer or an answer.
    pub(crate) fn local_description(&mut self, id: ConnectionId, description: Description, reply: Reply, now: Instant) {
        self.set_time(now);
        if let Some(neighbour) = self.neighbour_mut(id) {
            // To answer, the engine gives an own offer up.
            neighbour.own_offer = (description.kind == Kind::Offer).then(|| description.clone());
        }
        self.send_description(id, description, reply);
    }

    pub(super) fn send_description(&mut self, id: ConnectionId, description: Description, reply: Reply) {
        let Some(connection) = self.connections.get(&id) else { return };
        let route = match reply {
            Reply::Control => {
                let text = serde_json::json!({ "description": description.to_value() }).to_string();
                return self.send_control(id, text);
            }
            Reply::Route => connection.route,
            Reply::Relay(neighbour) => Route::Relay(neighbour),
        };
        let signal = Signal {
            from: self.id,
            to: connection.peer,
            negotiation_id: connection.negotiation_id,
            members: Some(self.neighbours.keys().copied().collect()),
            restart: matches!(reply, Reply::Relay(_)) && description.kind == Kind::Offer,
            body: Body::Description(description),
        };
        self.send_signal(route, signal.to_value(), false);
    }

    /// Handles a signal that arrived by `route`, over which its answers return. Returns its connection,
    /// if it is still there.
    pub(super) fn on_signal(&mut self, signal: Signal, route: Route) -> Option<ConnectionId> {
        let known = self.connections.iter().find(|(_, it)| it.negotiation_id == signal.negotiation_id);
        let Some((&id, connection)) = known else {
            return match &signal.body {
                Body::Description(Description { kind: Kind::Offer, .. }) => self.on_offer(signal, route),
                _ => None,
            };
        };
        if connection.peer == 0 && !matches!(signal.body, Body::Reject(_)) {
            if !self.identify(id, signal.from) {
                return None;
            }
        } else if connection.peer != signal.from && connection.peer != 0 {
            return None;
        }
        if self.connections.get(&id)?.is_open() {
            self.receive_open(id, signal, route);
        } else {
            self.receive_pending(id, signal);
        }
        self.connections.contains_key(&id).then_some(id)
    }

    fn on_offer(&mut self, signal: Signal, route: Route) -> Option<ConnectionId> {
        let Body::Description(description) = &signal.body else { return None };
        if signal.restart {
            self.send_reject(route, signal.from, signal.negotiation_id, CloseReason::Gone.as_str());
            return None;
        }
        let fingerprint = fingerprint::read(&description.sdp);
        if let Some(reason) = self.reject_offer(&signal, fingerprint.as_deref(), route) {
            self.send_reject(route, signal.from, signal.negotiation_id, reason.as_str());
            return None;
        }
        // If there is an open connection, the sender has lost it. It stays until the new one opens: only that proves
        // that the offer is from the same peer, because a fingerprint can be copied.
        if let Some(rival) = self.pending_with(signal.from) {
            self.close(rival, CloseReason::Glare);
        }
        let connection = Connection::new(signal.from, signal.negotiation_id, false, route, self.now);
        let id = self.add_connection(connection);
        self.receive_pending(id, signal);
        self.connections.contains_key(&id).then_some(id)
    }

    fn reject_offer(&mut self, signal: &Signal, fingerprint: Option<&str>, route: Route) -> Option<CloseReason> {
        let from = signal.from;
        let rival = self.pending_with(from).and_then(|id| self.connections.get(&id));
        let pending = rival.map(|rival| if rival.offerer { Attempt::Own } else { Attempt::Theirs });
        let opened = self.connection_of(from).and_then(|it| it.neighbour.as_ref()).map(|it| it.since);
        let offer = Offer {
            id: self.id,
            from,
            members: signal.members.as_deref().unwrap_or_default(),
            owns_id: self.owns(from, fingerprint),
            open: opened.map(|since| self.now.saturating_duration_since(since)),
            pending,
            full: self.neighbours.len() + self.answering().count() >= self.config.max_peers,
        };
        // Also for a known peer: a connection that replaces another one causes events, too.
        let has_slot = !self.paused && (pending.is_some() || self.has_slot(route.relay()));
        let now = self.now;
        let relay = route.relay().and_then(|relay| self.neighbours.get(&relay));
        let relay = relay.and_then(|id| self.connections.get_mut(id)?.neighbour.as_mut());
        let has_rate = || relay.is_none_or(|neighbour| neighbour.limits.offers.try_take(now));
        offer.rejection(|| has_slot && has_rate())
    }

    /// Whether the peer with this certificate may have this id. The first peer that connects with an id owns it.
    pub(super) fn owns(&self, id: u32, fingerprint: Option<&str>) -> bool {
        let open = self.connection_of(id).and_then(|connection| connection.fingerprint.as_deref());
        let owner = open.or_else(|| self.known.get(id));
        id != self.id && (owner.is_none() || owner == fingerprint)
    }

    fn answering(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(|connection| !connection.is_open() && !connection.offerer)
    }

    fn has_slot(&self, relay: Option<u32>) -> bool {
        let answering = self.answering().count();
        let same_way = self.answering().filter(|connection| connection.route.relay() == relay).count();
        match relay {
            None => same_way < MIN_JOINER_SLOTS || answering < MAX_ANSWERING,
            Some(_) => same_way < MAX_ANSWERING_PER_RELAY && answering < MAX_ANSWERING,
        }
    }

    fn pending_with(&self, peer: u32) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, it)| it.peer == peer && !it.is_open()).map(|(&id, _)| id)
    }

    /// Sets the id of the bound member, which a joiner learns from the first answer. Returns whether the attempt
    /// continues.
    fn identify(&mut self, id: ConnectionId, peer: u32) -> bool {
        if peer == self.id {
            self.close(id, CloseReason::SameId);
            return false;
        }
        if let Some(rival) = self.pending_with(peer) {
            // The attempt survives that the peer with the lower id began.
            let theirs = self.connections.get(&rival).is_some_and(|rival| !rival.offerer);
            let loser = if theirs && peer < self.id { id } else { rival };
            self.close(loser, CloseReason::Glare);
        }
        match self.connections.get_mut(&id) {
            Some(connection) => connection.peer = peer,
            None => return false,
        }
        true
    }

    /// Handles a signal of a pending connection.
    fn receive_pending(&mut self, id: ConnectionId, signal: Signal) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.answered = true;
        connection.has_neighbours |= signal.members.is_some_and(|members| !members.is_empty());
        match signal.body {
            Body::Reject(reject) => self.close_rejected(id, CloseReason::from_reject(&reject)),
            Body::Candidate(candidate) => self.add_candidate(id, candidate),
            Body::Description(description) => {
                // Later descriptions travel over the control channel.
                let expected = if connection.offerer { Kind::Answer } else { Kind::Offer };
                if description.kind == expected && !connection.described {
                    self.accept(id, description, Reply::Route);
                }
            }
        }
    }

    /// Passes a description of the other peer to the engine, with the candidates that arrived before it. Closes the
    /// connection if the fingerprint is missing or another one than before.
    pub(super) fn accept(&mut self, id: ConnectionId, description: Description, reply: Reply) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(fingerprint) = fingerprint::read(&description.sdp) else {
            return self.close(id, CloseReason::Invalid);
        };
        if *connection.fingerprint.get_or_insert_with(|| fingerprint.clone()) != fingerprint {
            return self.close(id, CloseReason::Invalid);
        }
        if let Some(neighbour) = &mut connection.neighbour {
            neighbour.own_offer = None;
        }
        connection.described = true;
        connection.remote_version = description.version().unwrap_or(connection.remote_version);
        connection.candidates = 0;
        let early = std::mem::take(&mut connection.early);
        self.act(Action::Accept { connection: id, description, reply });
        for candidate in early {
            self.add_candidate(id, candidate);
        }
    }

    pub(super) fn add_candidate(&mut self, id: ConnectionId, candidate: String) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.described {
            if connection.early.len() < MAX_EARLY_CANDIDATES {
                connection.early.push(candidate);
            }
        } else if connection.candidates < MAX_EARLY_CANDIDATES {
            // The protocol bounds the candidates before the description only. The engine keeps all that it gets.
            connection.candidates += 1;
            self.act(Action::AddCandidate { connection: id, candidate });
        }
    }

    /// Connects to the listed ids that are due.
    pub(super) fn discover(&mut self) {
        if self.has_left() {
            return;
        }
        let is_discovering = |it: &&Connection| !it.is_open() && it.offerer && it.route.relay().is_some();
        let mut free = MAX_DISCOVERING.saturating_sub(self.connections.values().filter(is_discovering).count());
        for peer in self.discovery.due(self.now) {
            // The open and the pending ones.
            if free == 0 || self.paused || self.connections.len() >= self.config.max_peers {
                break;
            }
            if self.pending_with(peer).is_some() {
                continue;
            }
            let Some(relay) = self.random_relay(peer, None) else { continue };
            self.discovery.begin(peer);
            self.begin(peer, Route::Relay(relay));
            free -= 1;
        }
    }

    /// A random neighbour that lists the peer, if possible another one than `except`.
    pub(super) fn random_relay(&mut self, peer: u32, except: Option<u32>) -> Option<u32> {
        let lists = |id: &ConnectionId| {
            self.connections.get(id).and_then(|it| it.neighbour.as_ref()).is_some_and(|it| it.lists(peer))
        };
        let relays = self.neighbours.iter().filter(|(other, id)| **other != peer && lists(id));
        let mut relays: Vec<_> = relays.map(|(&id, _)| id).collect();
        if relays.len() > 1 {
            relays.retain(|&id| Some(id) != except);
        }
        self.rng.choice(relays)
    }

    pub(super) fn send_reject(&mut self, route: Route, to: u32, negotiation_id: u32, reason: &str) {
        let body = Body::Reject(reason.to_owned());
        let signal = Signal { from: self.id, to, negotiation_id, members: None, restart: false, body };
        self.send_signal(route, signal.to_value(), true);
    }

    /// Ends a route that has carried its last signal.
    pub(super) fn end_route(&mut self, route: Route) {
        if let Route::Hub { socket, to } = route {
            self.send_content(socket, to, Vec::new(), true);
        }
    }

    fn send_signal(&mut self, route: Route, signal: Value, last: bool) {
        match route {
            Route::Hub { socket, to } => self.send_content(socket, to, signal.to_string().into_bytes(), last),
            Route::Relay(neighbour) => self.send_relay(neighbour, &signal),
        }
    }

    /// Sends a signal to a neighbour, which handles it or passes it on.
    pub(super) fn send_relay(&mut self, neighbour: u32, signal: &Value) {
        let Some(&id) = self.neighbours.get(&neighbour) else { return };
        let text = serde_json::json!({ "relay": signal }).to_string();
        // A hostile signal can be longer than the one that was received, because numbers have several forms. The
        // neighbour would close the connection.
        if !control::is_too_long(&text) {
            self.send_control(id, text);
        }
    }

    fn send_content(&mut self, socket: u64, to: Remote, data: Vec<u8>, last: bool) {
        if self.membership.is_current(socket) {
            self.act(Action::Hub(HubAction::Content { to, data, last }));
        }
    }
}
