//! The hub: makes this peer a member of the group, and keeps it one.
//!
//! A `connect` with the ids of all neighbours is sent until the hub answers `true`, and again after neighbours left. If
//! none of the hub's members is a neighbour by then, the hub answers `false` and binds this peer to one of them. This
//! merges halves of a group that formed separately.

mod joining;
mod key;

use std::collections::HashMap;
use std::time::Instant;

use sigver::client::Remote;

use super::Mesh;
use super::action::CloseReason;
use super::action::{Action, ConnectionId, HubAction};
use super::connection::Route;
use super::limits::{RECONNECT_MAX, RECONNECT_MIN, RETRY_MIN, STABLE_AFTER, back_off, jitter};
use super::signal::Signal;
use crate::event::{Close, Event, Reason, State};

#[derive(Debug)]
pub(crate) struct Membership {
    /// Counts WebSockets. Routes of an earlier one are dead.
    socket: u64,
    step: Step,
    state: State,
    reason: Reason,
    close: Option<Close>,
    was_joined: bool,
    leaving: bool,
    /// A neighbour has left since the last `connect`.
    neighbour_left: bool,
    /// WebSockets that failed one after another.
    failures: u32,
    opened: Option<Instant>,
    /// The close with 4740, until the hub accepts a fresh key.
    expired: Option<Close>,
    /// Attempts with members of the hub that failed one after another.
    failed_attempts: u32,
    attempt_reason: Reason,
    /// ICE failed, and no peer has been connected since.
    ice_failed: bool,
    /// How often ICE failed with each id since then.
    ice_failures: HashMap<u32, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The driver opens the WebSocket.
    Opening,
    /// No WebSocket until this time.
    Away {
        until: Instant,
    },
    /// A `connect` waits for its answer.
    Asking {
        purpose: Purpose,
        deadline: Instant,
    },
    /// An attempt with the member that the hub bound this peer to.
    Bound {
        connection: ConnectionId,
        purpose: Purpose,
        link: Option<u32>,
    },
    /// After a failed attempt: waits until `pause`, then until no attempt is pending or `settle`, then for the back-off.
    Settling {
        pause: Instant,
        settle: Instant,
    },
    Waiting {
        until: Instant,
    },
    /// This peer is a member. A `connect` is due at this time.
    Member {
        due: Option<Instant>,
    },
    Left,
}

/// Why a `connect` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Join,
    /// Asks whether one of the lost ids is still a member.
    Search,
    /// Is bound to one member after another until it finds the other half of the group.
    Heal {
        tries: usize,
    },
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            socket: 0,
            step: Step::Opening,
            state: State::Connecting,
            reason: Reason::None,
            close: None,
            was_joined: false,
            leaving: false,
            neighbour_left: false,
            failures: 0,
            opened: None,
            expired: None,
            failed_attempts: 0,
            attempt_reason: Reason::None,
            ice_failed: false,
            ice_failures: HashMap::new(),
        }
    }
}

impl Membership {
    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn has_left(&self) -> bool {
        self.leaving
    }

    /// Whether the WebSocket with this number is open.
    pub(super) fn is_current(&self, socket: u64) -> bool {
        socket == self.socket && self.is_open()
    }

    fn is_open(&self) -> bool {
        !matches!(self.step, Step::Opening | Step::Away { .. } | Step::Left)
    }

    fn current_reason(&self) -> Reason {
        if self.ice_failed { Reason::IceFailed } else { self.attempt_reason }
    }
}

impl Mesh {
    pub(super) fn open_hub(&mut self) {
        self.membership.step = Step::Opening;
        self.membership.opened = Some(self.now);
        self.act(Action::Hub(HubAction::Open));
    }

    /// The WebSocket to the hub is open.
    pub(crate) fn hub_opened(&mut self, now: Instant) {
        self.set_time(now);
        if self.membership.step != Step::Opening {
            return;
        }
        self.membership.socket += 1;
        self.membership.failed_attempts = 0;
        if self.membership.attempt_reason != Reason::Full {
            self.membership.attempt_reason = Reason::None;
        }
        if !self.membership.was_joined {
            self.set_state(State::Joining, self.membership.current_reason(), None);
        }
        self.ask(Purpose::Join);
    }

    /// The hub answered `connect`.
    pub(crate) fn hub_connected(&mut self, member: bool, now: Instant) {
        self.set_time(now);
        let Step::Asking { purpose, .. } = self.membership.step else { return };
        self.membership.expired = None;
        match (purpose, member) {
            (Purpose::Join, true) => {
                self.membership.failed_attempts = 0;
                self.membership.attempt_reason = Reason::None;
                self.membership.was_joined = true;
                self.membership.step = Step::Member { due: None };
                self.set_state(State::Joined, self.membership.current_reason(), None);
                if self.membership.neighbour_left {
                    self.connect_soon();
                }
            }
            (Purpose::Search, true) => self.ask(Purpose::Heal { tries: self.neighbours.len() + 2 }),
            (Purpose::Search, false) | (Purpose::Heal { .. }, true) => self.ask(Purpose::Join),
            (Purpose::Join | Purpose::Heal { .. }, false) => {
                if purpose == Purpose::Join {
                    self.set_state(State::Joining, self.membership.current_reason(), None);
                }
                let route = Route::Hub { socket: self.membership.socket, to: Remote::Member };
                let connection = self.begin(0, route);
                self.membership.step = Step::Bound { connection, purpose, link: None };
            }
        }
    }

    /// Content arrived over a link.
    pub(crate) fn hub_content(&mut self, from: Remote, link: u32, data: &[u8], now: Instant) {
        self.set_time(now);
        // The reference server also passes a bound peer's signals for other recipients to the member that it is bound to.
        let Some(signal) = Signal::parse(data).filter(|signal| signal.to == 0 || signal.to == self.id) else { return };
        if from == Remote::Member {
            let Step::Bound { connection, link: bound, .. } = &mut self.membership.step else { return };
            if self.connections.get(connection).is_none_or(|it| it.negotiation_id != signal.negotiation_id) {
                return;
            }
            *bound = Some(link);
        } else if !self.membership.is_open() {
            return;
        }
        let route = Route::Hub { socket: self.membership.socket, to: from };
        let connection = self.on_signal(signal, route);
        if let (Remote::Joiner(_), Some(connection)) = (from, connection) {
            self.links.insert(link, connection);
        }
    }

    /// The other end of a link sends nothing more.
    pub(crate) fn hub_ended(&mut self, from: Remote, link: u32, now: Instant) {
        self.set_time(now);
        let connection = match (from, self.membership.step) {
            (Remote::Joiner(_), _) => self.links.remove(&link),
            // An earlier link may end, too.
            (Remote::Member, Step::Bound { connection, link: bound, .. }) if bound.is_none_or(|it| it == link) => {
                Some(connection)
            }
            (Remote::Member, _) => None,
        };
        let Some(id) = connection else { return };
        let Some(connection) = self.connections.get_mut(&id).filter(|it| !it.is_open()) else { return };
        if connection.answered {
            connection.end_route(self.now);
        } else {
            self.close(id, CloseReason::Ended);
        }
    }

    /// The WebSocket has closed, or could not be opened. `close`: how the hub closed it; `None` if it was lost.
    pub(crate) fn hub_closed(&mut self, close: Option<Close>, timed_out: bool, now: Instant) {
        self.set_time(now);
        if matches!(self.membership.step, Step::Away { .. } | Step::Left) {
            return;
        }
        self.links.clear();
        let code = close.as_ref().map_or(Close::LOST, |close| close.code);
        let can_renew = code == 4740 && self.config.renewable_key && self.membership.expired.is_none();
        if is_final(code) && !can_renew {
            return self.finish(Reason::Rejected, close);
        }
        if can_renew {
            self.membership.expired.clone_from(&close);
        }
        self.reset_failures();
        let evicted = code == 4744;
        let close = Some(close.unwrap_or_else(|| Close::new(Close::LOST, "")));
        if evicted {
            // It had no neighbours: the group now belongs to the joiner that evicted it.
            let reason = if self.membership.ice_failed { Reason::IceFailed } else { Reason::Evicted };
            self.set_state(State::Joining, reason, close);
        } else {
            let reason = match () {
                () if can_renew => Reason::Expired,
                () if timed_out || code == 4742 => Reason::HubTimeout,
                () => Reason::Unreachable,
            };
            self.set_away(reason, close);
        }
        let soon = (can_renew || evicted) && self.membership.failures == 0;
        self.reconnect_later(soon);
    }

    /// A WebSocket that lasted long resets the back-off.
    fn reset_failures(&mut self) {
        let lasted = self.membership.opened.map(|since| self.now.saturating_duration_since(since));
        if lasted.is_some_and(|lasted| lasted > STABLE_AFTER) {
            self.membership.failures = 0;
        }
    }

    /// Opens another WebSocket later. The state stays the same.
    fn reconnect(&mut self) {
        self.links.clear();
        self.reset_failures();
        self.reconnect_later(false);
    }

    fn reconnect_later(&mut self, soon: bool) {
        let failures = self.membership.failures;
        self.membership.failures = failures.saturating_add(1);
        let wait = if soon {
            jitter(&mut self.rng, RETRY_MIN)
        } else {
            back_off(&mut self.rng, RECONNECT_MIN, RECONNECT_MAX, failures)
        };
        self.membership.step = Step::Away { until: self.now + wait };
    }

    /// Leaves the group. The driver closes the connections when it has carried out the actions.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.set_time(now);
        self.finish(Reason::None, None);
    }

    fn finish(&mut self, reason: Reason, close: Option<Close>) {
        if self.has_left() {
            return;
        }
        self.membership.leaving = true;
        self.send_byes();
        self.act(Action::Hub(HubAction::Close));
        self.membership.step = Step::Left;
        self.set_state(State::Left, reason, close);
    }

    /// Waits for the next WebSocket.
    fn set_away(&mut self, reason: Reason, close: Option<Close>) {
        let state = if self.membership.was_joined { State::Reconnecting } else { State::Connecting };
        self.set_state(state, reason, close);
    }

    fn set_state(&mut self, state: State, reason: Reason, close: Option<Close>) {
        let membership = &mut self.membership;
        if (membership.state, membership.reason, &membership.close) == (state, reason, &close) {
            return;
        }
        membership.state = state;
        membership.reason = reason;
        membership.close.clone_from(&close);
        self.emit(Event::StateChange { state, reason, close });
    }
}

/// Whether the hub would close the next WebSocket with the same code. Limits that pass by themselves close with 1013.
fn is_final(code: u16) -> bool {
    match code {
        4742 | 4744 => false,
        4000..=4999 => true,
        1002 | 1008 | 1009 => true,
        _ => false,
    }
}
