//! Attempts with the members that the hub binds this peer to, and what follows them.

use std::time::Instant;

use super::{Purpose, Step};
use crate::event::{Reason, State};
use crate::mesh::action::{Action, CloseReason, ConnectionId, HubAction};
use crate::mesh::connection::Connection;
use crate::mesh::limits::{
    CONNECT_ANSWER_TIMEOUT, CONNECT_DELAY, MAX_ANSWERING, MAX_ICE_FAILURES, RETRY_MAX, RETRY_MIN, SETTLE_TIMEOUT,
    back_off, jitter,
};
use crate::mesh::{Mesh, draw_id};

impl Mesh {
    pub(in crate::mesh) fn membership_timeout(&self) -> Option<Instant> {
        match self.membership.step {
            Step::Away { until } | Step::Waiting { until } => Some(until),
            Step::Asking { deadline, .. } => Some(deadline),
            Step::Settling { pause, .. } if self.connections.values().all(Connection::is_open) => Some(pause),
            Step::Settling { settle, .. } => Some(settle),
            Step::Member { due } => due,
            Step::Opening | Step::Bound { .. } | Step::Left => None,
        }
    }

    pub(in crate::mesh) fn check_membership(&mut self) {
        if self.membership_timeout().is_none_or(|at| at > self.now) {
            return;
        }
        match self.membership.step {
            Step::Away { .. } => self.open_hub(),
            Step::Asking { .. } => {
                self.act(Action::Hub(HubAction::Close));
                self.hub_closed(None, true, self.now);
            }
            Step::Settling { .. } => self.settled(),
            Step::Waiting { .. } => self.ask(Purpose::Join),
            Step::Member { .. } => {
                let lost = self.lost_ids_to_seek();
                self.ask(if lost.is_empty() { Purpose::Join } else { Purpose::Search });
            }
            Step::Opening | Step::Bound { .. } | Step::Left => {}
        }
    }

    /// Sends `connect`.
    pub(super) fn ask(&mut self, purpose: Purpose) {
        let members = match purpose {
            Purpose::Join => {
                self.membership.neighbour_left = false;
                self.neighbours.keys().copied().collect()
            }
            Purpose::Search => {
                let lost = self.lost_ids_to_seek();
                for &id in &lost {
                    self.lost.remove(id);
                }
                lost
            }
            Purpose::Heal { .. } => Vec::new(),
        };
        self.membership.step = Step::Asking { purpose, deadline: self.now + CONNECT_ANSWER_TIMEOUT };
        let id = self.id;
        self.act(Action::Hub(HubAction::Connect { id, members }));
    }

    /// A connection has opened.
    pub(in crate::mesh) fn membership_opened(&mut self, id: ConnectionId) {
        self.membership.ice_failed = false;
        self.membership.ice_failures.clear();
        if self.membership.reason == Reason::IceFailed {
            self.set_state(self.membership.state, Reason::None, None);
        }
        if matches!(self.membership.step, Step::Bound { connection, .. } if connection == id) {
            self.ask(Purpose::Join);
        }
    }

    /// A pending connection has closed.
    pub(in crate::mesh) fn membership_closed(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
        reason: CloseReason,
    ) {
        if self.has_left() {
            return;
        }
        if reason == CloseReason::IceFailed {
            self.ice_failed_with(connection.peer);
        }
        let Step::Bound { connection: bound, purpose, .. } = self.membership.step else { return };
        if bound != id {
            return;
        }
        if reason == CloseReason::SameId && self.neighbours.is_empty() {
            self.id = draw_id(&mut self.rng);
        }
        if let Purpose::Heal { tries } = purpose {
            return self.ask(if tries > 1 { Purpose::Heal { tries: tries - 1 } } else { Purpose::Join });
        }
        self.membership.attempt_reason = match reason {
            CloseReason::PeerTimeout => Reason::PeerTimeout,
            CloseReason::IceFailed => Reason::IceFailed,
            CloseReason::Full => Reason::Full,
            _ => self.membership.attempt_reason,
        };
        self.set_state(State::Joining, self.membership.current_reason(), None);
        let ice_failures = self.membership.ice_failures.get(&connection.peer).copied().unwrap_or(0);
        if reason == CloseReason::IceFailed && !connection.has_neighbours && ice_failures >= MAX_ICE_FAILURES {
            // Another `connect` would evict the member if it is the only one, and it would evict this peer in turn.
            let until = self.now + jitter(&mut self.rng, RETRY_MAX);
            self.membership.step = Step::Waiting { until };
            return;
        }
        if reason == CloseReason::Full || (reason == CloseReason::Busy && self.paused) {
            // Another `connect` would evict the member if it is the only one, although it works.
            self.act(Action::Hub(HubAction::Close));
            return self.reconnect();
        }
        // Another `connect` evicts the only member if this peer has tried it. First, attempts that the member or a
        // neighbour began must end.
        let is_alive = matches!(reason, CloseReason::Glare | CloseReason::Present | CloseReason::Busy);
        let pause = if is_alive { self.now + jitter(&mut self.rng, RETRY_MIN) } else { self.now };
        self.membership.step = Step::Settling { pause, settle: pause + SETTLE_TIMEOUT };
    }

    fn settled(&mut self) {
        let failures = self.membership.failed_attempts;
        self.membership.failed_attempts = failures.saturating_add(1);
        if failures == 0 {
            return self.ask(Purpose::Join);
        }
        let wait = back_off(&mut self.rng, RETRY_MIN, RETRY_MAX, failures - 1);
        self.membership.step = Step::Waiting { until: self.now + wait };
    }

    fn ice_failed_with(&mut self, peer: u32) {
        // A peer with neighbours reports nothing: its neighbours see the other peer.
        if !self.neighbours.is_empty() {
            return;
        }
        let membership = &mut self.membership;
        if membership.ice_failures.len() >= MAX_ANSWERING {
            membership.ice_failures.clear();
        }
        *membership.ice_failures.entry(peer).or_default() += 1;
        membership.ice_failed = true;
        let state = membership.state;
        if matches!(state, State::Joining | State::Joined) {
            self.set_state(state, Reason::IceFailed, None);
        }
    }

    pub(in crate::mesh) fn membership_neighbour_left(&mut self) {
        self.membership.neighbour_left = true;
        self.connect_soon();
    }

    /// Neighbours that leave together cause one `connect`.
    pub(super) fn connect_soon(&mut self) {
        if self.membership.step == (Step::Member { due: None }) {
            let due = self.now + jitter(&mut self.rng, CONNECT_DELAY);
            self.membership.step = Step::Member { due: Some(due) };
        }
    }

    pub(in crate::mesh) fn membership_tick(&mut self) {
        if !self.lost_ids_to_seek().is_empty() {
            self.connect_soon();
        }
    }
}
