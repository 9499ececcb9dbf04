//! Connections that open and close.

use std::time::Instant;

use super::action::{Action, CloseReason, ConnectionId};
use super::connection::Connection;
use super::control::{Hello, VERSION};
use super::limits::HELLO_TIMEOUT;
use super::{Mesh, peer_id};
use crate::event::{Event, LeaveReason};

impl Mesh {
    /// Both channels of a connection are open: the other peer has proven its fingerprint.
    pub(crate) fn opened(&mut self, id: ConnectionId, now: Instant) {
        self.set_time(now);
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.is_open() {
            return;
        }
        let (peer, route) = (connection.peer, connection.route);
        if peer == 0 {
            return self.close(id, CloseReason::IceFailed);
        }
        let Some(fingerprint) = connection.fingerprint.clone() else {
            return self.close(id, CloseReason::Invalid);
        };
        if !self.owns(peer, Some(&fingerprint)) {
            return self.close(id, CloseReason::SameId);
        }
        if self.paused {
            return self.close(id, CloseReason::Busy);
        }
        // Not the hub's member: otherwise, the halves of a full group would not merge. Nor an answered peer: it would lose
        // an open connection.
        let is_discovered = connection.offerer && route.relay().is_some();
        if is_discovered && self.neighbours.len() >= self.config.max_peers && !self.neighbours.contains_key(&peer) {
            return self.close(id, CloseReason::Full);
        }
        self.end_route(route);
        self.links.retain(|_, linked| *linked != id);
        if let Some(&replaced) = self.neighbours.get(&peer) {
            self.close(replaced, CloseReason::Replaced);
        }
        self.discovery.remove(peer);
        self.lost.remove(peer);
        self.left.remove(peer);
        self.known.insert(peer, fingerprint);
        self.neighbours.insert(peer, id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.open(self.now);
        }
        let hello =
            Hello { version: VERSION, metadata: self.config.metadata.clone(), channels: self.config.channels.clone() };
        self.send_control(id, hello.to_text());
        self.announce_neighbours();
        self.membership_opened(id);
        self.update_discovery();
    }

    /// The engine of a connection has failed, or the other side has closed it.
    pub(crate) fn failed(&mut self, id: ConnectionId, now: Instant) {
        self.set_time(now);
        self.fail(id, CloseReason::Lost);
    }

    /// The app does not receive the messages of this peer.
    pub(crate) fn overflowed(&mut self, id: ConnectionId, now: Instant) {
        self.set_time(now);
        self.fail(id, CloseReason::Overflow);
    }

    /// The other side has broken a rule of the channels.
    pub(crate) fn invalid(&mut self, id: ConnectionId, now: Instant) {
        self.set_time(now);
        self.close(id, CloseReason::Invalid);
    }

    pub(super) fn fail(&mut self, id: ConnectionId, reason: CloseReason) {
        let is_open = self.connections.get(&id).is_some_and(Connection::is_open);
        self.close(id, if is_open { reason } else { CloseReason::IceFailed });
    }

    /// Closes a connection. A pending one ends with a reject.
    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(connection) = self.connections.get(&id)
            && !connection.is_open()
        {
            let (route, peer, negotiation_id) = (connection.route, connection.peer, connection.negotiation_id);
            self.send_reject(route, peer, negotiation_id, reason.as_str());
        }
        self.remove(id, reason);
    }

    /// Closes a pending connection that the other side has rejected.
    pub(super) fn close_rejected(&mut self, id: ConnectionId, reason: CloseReason) {
        match self.connections.get(&id) {
            // Empty content does not name the attempt: a joiner would take it for the end of its next one.
            Some(connection) if connection.route.relay().is_none() => self.close(id, reason),
            _ => self.remove(id, reason),
        }
    }

    fn remove(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let peer = connection.peer;
        self.act(Action::Close { connection: id });
        self.links.retain(|_, linked| *linked != id);
        match connection.neighbour {
            None => {
                // Nothing is proven about the id of a pending connection: a relay may have sent the invalid description.
                if connection.offerer {
                    self.discovery.retry(peer, self.now, &mut self.rng);
                }
                self.membership_closed(id, &connection, reason);
            }
            Some(neighbour) => {
                if self.neighbours.get(&peer) == Some(&id) {
                    self.neighbours.remove(&peer);
                    self.discovery.remove_neighbour(peer);
                }
                match reason {
                    CloseReason::Left | CloseReason::Invalid => {
                        self.left.insert(peer, self.now);
                        self.discovery.remove(peer);
                    }
                    CloseReason::Lost | CloseReason::Overflow => self.lost.insert(peer, self.now),
                    _ => {}
                }
                if neighbour.hello.is_some() {
                    self.emit(Event::PeerLeave { peer: peer_id(peer), reason: leave_reason(reason) });
                }
                self.announce_neighbours();
                self.membership_neighbour_left();
            }
        }
        self.update_discovery();
    }

    /// When something happens to this connection without input.
    pub(super) fn connection_timeout(&self, connection: &Connection) -> Option<Instant> {
        let Some(neighbour) = &connection.neighbour else { return Some(connection.deadline().0) };
        let hello = neighbour.hello.is_none().then(|| neighbour.since + HELLO_TIMEOUT);
        [hello, neighbour.near_due, self.interruption_timeout(connection)].into_iter().flatten().min()
    }

    pub(super) fn check_connections(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get(&id) else { continue };
            let Some(neighbour) = &connection.neighbour else {
                let (at, reason) = connection.deadline();
                if at <= self.now {
                    self.close(id, reason);
                }
                continue;
            };
            if neighbour.hello.is_none() && neighbour.since + HELLO_TIMEOUT <= self.now {
                self.introduce(id, Hello::default());
            }
            self.check_near(id);
            self.check_interruption(id);
        }
    }

    /// Leaves the group: ends pending attempts and sends `bye` to the neighbours, whose connections the driver closes
    /// when it has sent everything.
    pub(super) fn send_byes(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if self.connections.get(&id).is_some_and(Connection::is_open) {
                self.send_control(id, r#"{"bye":true}"#.to_owned());
            } else {
                self.close(id, CloseReason::Left);
            }
        }
    }
}

fn leave_reason(reason: CloseReason) -> LeaveReason {
    match reason {
        CloseReason::Left => LeaveReason::Left,
        CloseReason::Invalid => LeaveReason::Invalid,
        CloseReason::Replaced => LeaveReason::Replaced,
        CloseReason::Overflow => LeaveReason::Overflow,
        _ => LeaveReason::Lost,
    }
}
