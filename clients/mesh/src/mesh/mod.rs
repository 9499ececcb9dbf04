//! The protocol between the peers of a group, without I/O: calls are the input, [`Action`]s the output.
//!
//! - `connecting`: attempts to connect, and signals; `offer` decides about offers
//! - `lifecycle`: connections that open and close
//! - `neighbours`: messages of open connections; `control` and `framing` parse them
//! - `discovery`: the peers that neighbours list
//! - `membership`: the hub
//! - `interruption`: ICE restarts
//!
//! All input carries the time. All randomness comes from one seed.

mod action;
mod connecting;
mod connection;
mod control;
mod discovery;
mod fingerprint;
mod framing;
mod interruption;
mod json;
mod lifecycle;
mod limits;
mod membership;
mod neighbours;
mod offer;
mod recent;
mod signal;
#[cfg(any(test, feature = "__fuzzing"))]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use serde_json::Value;

pub(crate) use action::{Action, Config, ConnectionId, HubAction, Reply};
pub(crate) use control::is_channel_name;
pub(crate) use fingerprint::normalize;
pub(crate) use framing::Pieces;
pub(crate) use limits::{
    DEFAULT_MAX_PEERS, MAX_CHANNELS, MAX_MAX_PEERS, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, MAX_METADATA_DEPTH,
    PIECE_BYTES,
};
pub(crate) use signal::{Description, Kind};

use connection::Connection;
use discovery::Discovery;
use fingerprint::KnownIds;
use limits::{METADATA_INTERVAL, PING_INTERVAL};
use membership::Membership;
use recent::Recent;

use crate::event::{Event, State};
use crate::id::PeerId;

/// The hub's link ids are below 2^31. The ids of peers start there.
const FIRST_ID: u32 = 1 << 31;

pub(crate) struct Mesh {
    config: Config,
    id: u32,
    now: Instant,
    /// The zero of the times in pings.
    epoch: Instant,
    rng: fastrand::Rng,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    /// The open connections, by the id of the peer.
    neighbours: BTreeMap<u32, ConnectionId>,
    /// Joiners that the hub bound to this peer, by link.
    links: HashMap<u32, ConnectionId>,
    discovery: Discovery,
    known: KnownIds,
    /// Ids that sent `bye` or broke a rule. This peer does not look for them.
    left: Recent,
    /// Ids that were lost without `bye`.
    lost: Recent,
    membership: Membership,
    next_tick: Instant,
    metadata_sent: Option<Instant>,
    metadata_due: Option<Instant>,
    /// The app has fallen so far behind that no further peer is accepted.
    paused: bool,
    actions: VecDeque<Action>,
}

/// One neighbour, for the app.
#[derive(Clone, Debug)]
pub(crate) struct NeighbourInfo {
    pub(crate) peer: u32,
    pub(crate) metadata: Option<Value>,
    pub(crate) fingerprint: String,
    pub(crate) round_trip_time: Option<f64>,
    pub(crate) neighbours: Vec<(u32, Option<f64>)>,
}

impl Mesh {
    /// Starts to join: the first action opens a WebSocket to the hub.
    pub(crate) fn new(config: Config, seed: u64, now: Instant) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut mesh = Self {
            config,
            id: draw_id(&mut rng),
            now,
            epoch: now,
            rng,
            connections: BTreeMap::new(),
            next_connection: 0,
            neighbours: BTreeMap::new(),
            links: HashMap::new(),
            discovery: Discovery::default(),
            known: KnownIds::default(),
            left: Recent::default(),
            lost: Recent::default(),
            membership: Membership::default(),
            next_tick: now + PING_INTERVAL,
            metadata_sent: None,
            metadata_due: None,
            paused: false,
            actions: VecDeque::new(),
        };
        mesh.open_hub();
        mesh
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn state(&self) -> State {
        self.membership.state()
    }

    /// Takes the next action. The driver carries the actions out in order, and before the next input.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle_timeout`.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.has_left() {
            return None;
        }
        let connections = self.connections.values().filter_map(|connection| self.connection_timeout(connection));
        let times = [Some(self.next_tick), self.metadata_due, self.membership_timeout()];
        let discovery = self.discovery.next_timeout(self.now);
        connections.chain(times.into_iter().flatten()).chain(discovery).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.set_time(now);
        if self.has_left() {
            return;
        }
        self.check_connections();
        if self.next_tick <= self.now {
            // A driver that was suspended does not send several pings at once.
            self.next_tick = self.now + PING_INTERVAL;
            self.tick();
        }
        if self.metadata_due.is_some_and(|due| due <= self.now) {
            self.send_metadata();
        }
        self.check_membership();
        self.discover();
    }

    /// Changes the metadata. Changes within one second are combined.
    pub(crate) fn set_metadata(&mut self, metadata: Value, now: Instant) {
        self.set_time(now);
        self.config.metadata = Some(metadata);
        match self.metadata_sent.map(|sent| sent + METADATA_INTERVAL) {
            Some(next) if next > self.now => self.metadata_due = Some(next),
            _ => self.send_metadata(),
        }
    }

    /// Accepts no further peers, or accepts them again.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// The connections to the recipients of a message that have sent their hello and have the channel.
    pub(crate) fn recipients(&self, to: Option<u32>, channel: Option<&str>) -> Vec<ConnectionId> {
        let is_recipient = |(peer, id): &(&u32, &ConnectionId)| {
            let hello = self.connections.get(id).and_then(|it| it.neighbour.as_ref()?.hello.as_ref());
            to.is_none_or(|to| to == **peer)
                && hello.is_some_and(|it| channel.is_none_or(|name| it.channels.iter().any(|other| other == name)))
        };
        self.neighbours.iter().filter(is_recipient).map(|(_, &id)| id).collect()
    }

    /// Whether the other peer may create a named channel: it has the lower id, and the app has a channel of this name.
    pub(crate) fn accepts_channel(&self, id: ConnectionId, name: &str) -> bool {
        let peer = self.connections.get(&id).map(|connection| connection.peer);
        peer.is_some_and(|peer| peer < self.id) && self.config.channels.iter().any(|other| other == name)
    }

    /// The connection to a peer.
    pub(crate) fn connection_to(&self, peer: u32) -> Option<ConnectionId> {
        self.neighbours.get(&peer).copied()
    }

    /// The neighbours that have introduced themselves, by id.
    pub(crate) fn neighbours(&self) -> Vec<NeighbourInfo> {
        let info = |(&peer, id): (&u32, &ConnectionId)| {
            let connection = self.connections.get(id)?;
            let neighbour = connection.neighbour.as_ref()?;
            neighbour.hello.as_ref()?;
            Some(NeighbourInfo {
                peer,
                metadata: neighbour.metadata().cloned(),
                fingerprint: connection.fingerprint.clone().unwrap_or_default(),
                round_trip_time: neighbour.round_trip_time,
                neighbours: neighbour.near.clone(),
            })
        };
        self.neighbours.iter().filter_map(info).collect()
    }

    fn has_left(&self) -> bool {
        self.membership.has_left()
    }

    /// Time never goes back.
    fn set_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn emit(&mut self, event: Event) {
        self.act(Action::Event(event));
    }

    fn connection_of(&self, peer: u32) -> Option<&Connection> {
        self.connections.get(self.neighbours.get(&peer)?)
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("id", &self.id).field("state", &self.state()).finish_non_exhaustive()
    }
}

fn draw_id(rng: &mut fastrand::Rng) -> u32 {
    rng.u32(FIRST_ID..=u32::MAX)
}

fn peer_id(id: u32) -> PeerId {
    PeerId(id)
}
