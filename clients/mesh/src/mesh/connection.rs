//! The state of one connection, pending or open, without its WebRTC engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use sigver::client::Remote;

use super::action::CloseReason;
use super::control::Hello;
use super::framing::Assembler;
use super::limits::{ANSWER_TIMEOUT, OPEN_TIMEOUT, OPEN_TIMEOUT_AFTER_END, TokenBucket};
use super::signal::Description;
use crate::payload::Payload;

#[derive(Debug)]
pub(crate) struct Connection {
    /// 0 while a joiner does not know the id of its member.
    pub(crate) peer: u32,
    pub(crate) negotiation_id: u32,
    pub(crate) offerer: bool,
    pub(crate) route: Route,
    begun: Instant,
    route_ended: Option<Instant>,
    /// Whether a signal of the other peer has arrived.
    pub(crate) answered: bool,
    /// Whether the engine has the other peer's description.
    pub(crate) described: bool,
    /// Of the last description that the engine has, if it has a version.
    pub(crate) remote_version: u64,
    /// Of all descriptions. Proven when the connection is open.
    pub(crate) fingerprint: Option<String>,
    /// Candidates that arrived before the description.
    pub(crate) early: Vec<String>,
    /// Candidates since the last description.
    pub(crate) candidates: usize,
    /// Whether the other peer named neighbours with its description.
    pub(crate) has_neighbours: bool,
    /// Present when the connection is open.
    pub(crate) neighbour: Option<Neighbour>,
}

/// How signals reach a peer that is not a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Over the WebSocket with this number.
    Hub { socket: u64, to: Remote },
    /// Through a neighbour.
    Relay(u32),
}

impl Route {
    pub(crate) fn relay(self) -> Option<u32> {
        match self {
            Self::Relay(neighbour) => Some(neighbour),
            Self::Hub { .. } => None,
        }
    }
}

/// What an open connection has.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) since: Instant,
    /// `None` until the first message on the control channel.
    pub(crate) hello: Option<Hello>,
    /// The neighbour's neighbours, with its round-trip times.
    pub(crate) near: Vec<(u32, Option<f64>)>,
    /// In milliseconds, smoothed.
    pub(crate) round_trip_time: Option<f64>,
    pub(crate) unanswered_pings: u32,
    /// Lists of neighbours that are sent.
    pub(crate) near_rate: TokenBucket,
    pub(crate) near_due: Option<Instant>,
    pub(crate) limits: Limits,
    assemblers: HashMap<Option<Arc<str>>, Assembler>,
    /// Messages that arrived before the `hello`.
    pub(crate) waiting: Vec<(Option<Arc<str>>, Payload)>,
    pub(crate) waiting_bytes: usize,
    /// Since when ICE is disconnected.
    pub(crate) disconnected: Option<Instant>,
    pub(crate) interruption: Option<Interruption>,
    /// This peer's offer that restarts ICE, until it has an answer or the other peer's offer replaces it.
    pub(crate) own_offer: Option<Description>,
    /// What the last relayed description has changed.
    pub(crate) undo: Option<Undo>,
}

/// What a neighbour may send. Bursts are for groups that form at once.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) near: TokenBucket,
    pub(crate) relays: TokenBucket,
    pub(crate) offers: TokenBucket,
}

/// The state before a relayed description, which the engine may not be able to use.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) remote_version: u64,
    pub(crate) own_offer: Option<Description>,
    pub(crate) interruption: Option<Interruption>,
}

/// An ICE restart.
#[derive(Clone, Debug)]
pub(crate) struct Interruption {
    pub(crate) since: Instant,
    /// When to send the next offer. `None`: the other peer restarts ICE.
    pub(crate) next_offer: Option<Instant>,
    /// The neighbour that relayed the last offer.
    pub(crate) relay: Option<u32>,
}

impl Interruption {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, next_offer: None, relay: None }
    }
}

impl Connection {
    pub(crate) fn new(peer: u32, negotiation_id: u32, offerer: bool, route: Route, now: Instant) -> Self {
        Self {
            peer,
            negotiation_id,
            offerer,
            route,
            begun: now,
            route_ended: None,
            answered: !offerer,
            described: false,
            remote_version: 0,
            fingerprint: None,
            early: Vec::new(),
            candidates: 0,
            has_neighbours: false,
            neighbour: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.neighbour.is_some()
    }

    /// When the pending connection closes, and with which reason.
    pub(crate) fn deadline(&self) -> (Instant, CloseReason) {
        let (at, reason) = if self.answered {
            (self.begun + OPEN_TIMEOUT, CloseReason::IceFailed)
        } else {
            (self.begun + ANSWER_TIMEOUT, CloseReason::PeerTimeout)
        };
        match self.route_ended {
            Some(ended) => (at.min(ended + OPEN_TIMEOUT_AFTER_END), CloseReason::Ended),
            None => (at, reason),
        }
    }

    pub(crate) fn end_route(&mut self, now: Instant) {
        self.route_ended.get_or_insert(now);
    }

    pub(crate) fn open(&mut self, now: Instant) {
        self.neighbour = Some(Neighbour {
            since: now,
            hello: None,
            near: Vec::new(),
            round_trip_time: None,
            unanswered_pings: 0,
            near_rate: TokenBucket::new(1.0, 2.0, now),
            near_due: None,
            limits: Limits {
                near: TokenBucket::new(1.0, 3.0, now),
                relays: TokenBucket::new(100.0, 200.0, now),
                offers: TokenBucket::new(4.0, 32.0, now),
            },
            assemblers: HashMap::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            disconnected: None,
            interruption: None,
            own_offer: None,
            undo: None,
        });
    }
}

impl Neighbour {
    pub(crate) fn version(&self) -> u32 {
        self.hello.as_ref().map_or(0, |hello| hello.version)
    }

    pub(crate) fn metadata(&self) -> Option<&Value> {
        self.hello.as_ref()?.metadata.as_ref()
    }

    pub(crate) fn lists(&self, id: u32) -> bool {
        self.near.iter().any(|&(other, _)| other == id)
    }

    /// `single`: each message of the channel is one piece.
    pub(crate) fn assembler(&mut self, channel: Option<&Arc<str>>, single: bool) -> &mut Assembler {
        self.assemblers.entry(channel.cloned()).or_insert_with(|| Assembler::new(single))
    }

    pub(crate) fn add_round_trip_time(&mut self, sample: f64) {
        if sample >= 0.0 && sample.is_finite() {
            let average = self.round_trip_time.unwrap_or(sample);
            self.round_trip_time = Some(average + (sample - average) / 4.0);
        }
    }
}
