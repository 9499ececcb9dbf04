//! Messages of open connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::action::{Action, CloseReason, ConnectionId, Reply};
use super::connection::{Neighbour, Route};
use super::control::{Control, Hello, TooLong};
use super::limits::{LOST_AFTER, MAX_MESSAGE_BYTES, MAX_NEAR_ENTRIES, MAX_UNANSWERED_PINGS};
use super::signal::{Body, Description, Kind, Signal};
use super::{Mesh, peer_id};
use crate::event::Event;
use crate::payload::Payload;

impl Mesh {
    /// A message arrived on the control channel.
    pub(crate) fn control_message(&mut self, id: ConnectionId, binary: bool, data: &[u8], now: Instant) {
        self.set_time(now);
        self.heard(id);
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        let is_introduced = neighbour.hello.is_some();
        let parsed = if binary { Err(TooLong) } else { Control::parse(&String::from_utf8_lossy(data)) };
        let Ok(message) = parsed else { return self.close(id, CloseReason::Invalid) };
        match message {
            Some(Control::Hello(hello)) if !is_introduced => return self.introduce(id, hello),
            // The first message of version 1 and later is a `hello`.
            _ if !is_introduced => self.introduce(id, Hello::default()),
            _ => {}
        }
        if let Some(message) = message {
            self.on_control(id, message);
        }
    }

    fn on_control(&mut self, id: ConnectionId, message: Control) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let peer = connection.peer;
        let Some(neighbour) = connection.neighbour.as_mut() else { return };
        match message {
            Control::Hello(_) => {}
            Control::Metadata(metadata) => {
                // A peer of version 0 has no metadata.
                if let Some(hello) = neighbour.hello.as_mut().filter(|hello| hello.version > 0) {
                    hello.metadata = Some(metadata.clone());
                    self.emit(Event::PeerMetadata { peer: peer_id(peer), metadata });
                }
            }
            Control::Near(near) => {
                if neighbour.limits.near.try_take(self.now) {
                    neighbour.near = near;
                    self.update_listed(id);
                    self.discover();
                }
            }
            Control::Ping(value) => self.send_control(id, json!({ "pong": value }).to_string()),
            Control::Pong(sent) => {
                let elapsed = self.now.saturating_duration_since(self.epoch).as_secs_f64() * 1_000.0;
                neighbour.add_round_trip_time(elapsed - sent);
            }
            Control::Relay(signal, value) => {
                if neighbour.limits.relays.try_take(self.now) {
                    self.on_relay(peer, signal, &value);
                }
            }
            Control::Description(description) => self.renegotiate(id, description),
            Control::Candidate(candidate) => self.add_candidate(id, candidate),
            Control::Bye => self.close(id, CloseReason::Left),
        }
    }

    fn on_relay(&mut self, neighbour: u32, signal: Signal, value: &serde_json::Value) {
        if signal.to == self.id {
            self.on_signal(signal, Route::Relay(neighbour));
        } else if signal.from == neighbour {
            if self.neighbours.contains_key(&signal.to) {
                self.send_relay(signal.to, value);
            } else if !matches!(signal.body, Body::Reject(_)) {
                let Signal { from, to, negotiation_id, .. } = signal;
                let body = Body::Reject(CloseReason::Gone.as_str().to_owned());
                let gone = Signal { from: to, to: from, negotiation_id, members: None, restart: false, body };
                self.send_relay(neighbour, &gone.to_value());
            }
        }
    }

    /// Media, for which this peer makes no offers, or the offer of an interruption that has ended.
    fn renegotiate(&mut self, id: ConnectionId, description: Description) {
        // The control channel delivers after an interruption what was sent before it.
        if self.is_outdated(id, &description) {
            return;
        }
        let is_accepted = match description.kind {
            Kind::Offer => !self.ignores_offer(id),
            Kind::Answer => self.expects_answer(id),
        };
        if is_accepted {
            self.accept(id, description, Reply::Control);
        }
    }

    /// A message arrived on the data channel, or on the named channel `channel`. `single`: each message of this channel
    /// is one piece.
    pub(crate) fn data_message(
        &mut self,
        id: ConnectionId,
        channel: Option<&Arc<str>>,
        single: bool,
        data: &[u8],
        now: Instant,
    ) {
        self.set_time(now);
        self.heard(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let peer = connection.peer;
        let Some(neighbour) = connection.neighbour.as_mut() else { return };
        match neighbour.assembler(channel, single).push(data) {
            Err(_) => self.close(id, CloseReason::Invalid),
            Ok(None) => {}
            Ok(Some(data)) if neighbour.hello.is_some() => {
                self.emit(Event::Message { from: peer_id(peer), channel: channel.cloned(), data });
            }
            Ok(Some(data)) => {
                neighbour.waiting_bytes += data.len() + size_of::<Payload>();
                neighbour.waiting.push((channel.cloned(), data));
                if neighbour.waiting_bytes > MAX_MESSAGE_BYTES {
                    self.close(id, CloseReason::Invalid);
                }
            }
        }
    }

    /// A message arrived that is not part of the protocol. It shows that the peer is alive.
    pub(crate) fn ignored_message(&mut self, id: ConnectionId, now: Instant) {
        self.set_time(now);
        self.heard(id);
    }

    /// The peer has introduced itself, or has version 0: reports it, and the messages that waited for it.
    pub(super) fn introduce(&mut self, id: ConnectionId, hello: Hello) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let peer = connection.peer;
        let fingerprint = connection.fingerprint.clone().unwrap_or_default();
        let Some(neighbour) = connection.neighbour.as_mut() else { return };
        neighbour.waiting_bytes = 0;
        let waiting = std::mem::take(&mut neighbour.waiting);
        let metadata = hello.metadata.clone();
        let common = self.config.channels.iter().filter(|name| hello.channels.contains(*name)).cloned();
        let create = if self.id < peer { common.collect() } else { Vec::new() };
        neighbour.hello = Some(hello);
        self.emit(Event::PeerJoin { peer: peer_id(peer), metadata, fingerprint });
        self.act(Action::Joined { connection: id, create });
        for (channel, data) in waiting {
            self.emit(Event::Message { from: peer_id(peer), channel, data });
        }
    }

    /// Updates the ids that all neighbours list, and connects to the ids that are due.
    pub(super) fn update_discovery(&mut self) {
        let ids: Vec<_> = self.neighbours.values().copied().collect();
        for id in ids {
            self.update_listed(id);
        }
        self.discover();
    }

    fn update_listed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(neighbour) = &connection.neighbour else { return };
        let is_unmet = |id: &u32| *id != self.id && !self.neighbours.contains_key(id) && !self.left.contains(*id);
        let listed: BTreeSet<u32> = neighbour.near.iter().map(|&(id, _)| id).filter(is_unmet).collect();
        self.discovery.update(self.id, connection.peer, listed, self.now);
    }

    /// Sends pings and lists of neighbours, and closes lost connections.
    pub(super) fn tick(&mut self) {
        self.left.expire(self.now);
        self.lost.expire(self.now);
        let elapsed = self.now.saturating_duration_since(self.epoch).as_secs_f64() * 1_000.0;
        let ping = json!({ "ping": round(elapsed) }).to_string();
        let ids: Vec<_> = self.neighbours.values().copied().collect();
        for id in ids {
            let Some(neighbour) = self.neighbour_mut(id) else { continue };
            if neighbour.unanswered_pings >= MAX_UNANSWERED_PINGS && !self.is_restarting(id) {
                self.close(id, CloseReason::Lost);
                continue;
            }
            let Some(neighbour) = self.neighbour_mut(id) else { continue };
            neighbour.unanswered_pings = neighbour.unanswered_pings.saturating_add(1);
            self.send_control(id, ping.clone());
        }
        self.update_discovery(); // ids that left longer ago than 60 s may be listed
        self.announce_neighbours();
        self.membership_tick();
    }

    pub(super) fn announce_neighbours(&mut self) {
        let ids: Vec<_> = self.neighbours.values().copied().collect();
        for id in ids {
            self.request_near(id);
        }
    }

    /// Sends the list of neighbours now, or as soon as the rate allows it.
    fn request_near(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(neighbour) = self.neighbour_mut(id) else { return };
        if neighbour.near_due.is_some() {
            return;
        }
        if !neighbour.near_rate.try_take(now) {
            neighbour.near_due = Some(neighbour.near_rate.next());
            return;
        }
        let round_trip_time = |id: &ConnectionId| {
            self.connections.get(id).and_then(|it| it.neighbour.as_ref()?.round_trip_time).map(round)
        };
        let near = self.neighbours.iter().take(MAX_NEAR_ENTRIES).map(|(peer, id)| (peer, round_trip_time(id)));
        let near: Vec<_> = near.collect();
        self.send_control(id, json!({ "near": near }).to_string());
    }

    pub(super) fn check_near(&mut self, id: ConnectionId) {
        let now = self.now;
        if let Some(neighbour) = self.neighbour_mut(id)
            && neighbour.near_due.is_some_and(|due| due <= now)
        {
            neighbour.near_due = None;
            self.request_near(id);
        }
    }

    pub(super) fn send_metadata(&mut self) {
        self.metadata_due = None;
        self.metadata_sent = Some(self.now);
        let text = json!({ "metadata": self.config.metadata }).to_string();
        let ids: Vec<_> = self.neighbours.values().copied().collect();
        for id in ids {
            self.send_control(id, text.clone());
        }
    }

    /// The lost ids that may belong to another half of the group, if this peer is the one that searches for it: the one
    /// with the lowest id of its half.
    pub(super) fn lost_ids_to_seek(&self) -> Vec<u32> {
        if self.neighbours.keys().next().is_none_or(|&lowest| lowest < self.id) {
            return Vec::new();
        }
        let is_seen = |id: u32| {
            let mut neighbours = self.neighbours.values().filter_map(|id| self.connections.get(id)?.neighbour.as_ref());
            neighbours.any(|neighbour| neighbour.lists(id))
        };
        self.lost.older_than(LOST_AFTER, self.now).filter(|&id| !is_seen(id)).collect()
    }

    pub(super) fn send_control(&mut self, id: ConnectionId, text: String) {
        self.act(Action::SendControl { connection: id, text });
    }

    pub(super) fn neighbour_mut(&mut self, id: ConnectionId) -> Option<&mut Neighbour> {
        self.connections.get_mut(&id)?.neighbour.as_mut()
    }
}

/// To a tenth of a millisecond, for short messages.
fn round(milliseconds: f64) -> f64 {
    (milliseconds * 10.0).round() / 10.0
}
