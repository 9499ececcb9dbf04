//! What the mesh asks its driver to do.

use serde_json::Value;
use sigver::client::Remote;

use super::signal::Description;
use crate::event::Event;

/// Names one connection of a mesh. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Create a connection. If `offer` is true, make an offer and pass it to `Mesh::local_description` with
    /// `Reply::Route`.
    Connect {
        connection: ConnectionId,
        offer: bool,
    },
    /// Apply the other peer's description. If it is an offer, pass the answer to `Mesh::local_description`. If it
    /// cannot be applied, call `Mesh::description_unusable`.
    Accept {
        connection: ConnectionId,
        description: Description,
        reply: Reply,
    },
    /// Make an offer that restarts ICE, and pass it to `Mesh::local_description`.
    RestartIce {
        connection: ConnectionId,
        reply: Reply,
    },
    /// Add a candidate of the other peer.
    AddCandidate {
        connection: ConnectionId,
        candidate: String,
    },
    /// Send a text on the control channel.
    SendControl {
        connection: ConnectionId,
        text: String,
    },
    /// The peer has introduced itself. `create`: create these named channels.
    Joined {
        connection: ConnectionId,
        create: Vec<String>,
    },
    /// Close a connection. Unsent messages are lost.
    Close {
        connection: ConnectionId,
    },
    Hub(HubAction),
    Event(Event),
}

/// Where a local description goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The route of a pending connection.
    Route,
    /// The control channel.
    Control,
    /// This neighbour, which relays it: the connection is interrupted.
    Relay(u32),
}

#[derive(Debug, PartialEq)]
pub(crate) enum HubAction {
    /// Open a WebSocket.
    Open,
    Connect {
        id: u32,
        members: Vec<u32>,
    },
    /// Empty data and `last` ends this direction of the link.
    Content {
        to: Remote,
        data: Vec<u8>,
        last: bool,
    },
    Close,
}

/// Why a connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CloseReason {
    Left,
    Lost,
    Invalid,
    Replaced,
    Overflow,
    PeerTimeout,
    IceFailed,
    Glare,
    Present,
    Gone,
    SameId,
    Full,
    Busy,
    Ended,
}

impl CloseReason {
    /// The `reject` of a signal.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Invalid => "invalid",
            Self::PeerTimeout => "peer-timeout",
            Self::Glare | Self::Replaced => "glare",
            Self::Present => "present",
            Self::Gone => "gone",
            Self::SameId => "same-id",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Ended => "ended",
            Self::IceFailed | Self::Lost | Self::Overflow => "ice-failed",
        }
    }

    /// Reads a `reject`. An unknown reason is treated as `ice-failed`.
    pub(crate) fn from_reject(reject: &str) -> Self {
        const REJECTS: [CloseReason; 10] = {
            use CloseReason::{Busy, Ended, Full, Glare, Gone, Invalid, Left, PeerTimeout, Present, SameId};
            [Left, Invalid, PeerTimeout, Glare, Present, Gone, SameId, Full, Busy, Ended]
        };
        REJECTS.into_iter().find(|reason| reason.as_str() == reject).unwrap_or(Self::IceFailed)
    }
}

/// What this peer tells about itself, and what it accepts.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) metadata: Option<Value>,
    pub(crate) max_peers: usize,
    pub(crate) channels: Vec<String>,
    /// Whether the app can return a fresh key.
    pub(crate) renewable_key: bool,
}
