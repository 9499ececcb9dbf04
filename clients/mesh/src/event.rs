//! What a group reports to the app.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::id::PeerId;
use crate::payload::Payload;

/// An event of a group, from [`Group::recv`](crate::Group::recv).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection to a peer is open, and the peer has introduced itself. Its messages come later.
    #[non_exhaustive]
    PeerJoin {
        /// The peer.
        peer: PeerId,
        /// The JSON value with which the peer describes itself. `None` if it has none. It is untrusted.
        metadata: Option<Value>,
        /// The SHA-256 fingerprint of the peer's certificate in upper-case hex. The peer has proven that it has the
        /// private key.
        fingerprint: String,
    },
    /// The connection to a peer is closed. No further messages of the peer follow, unless it joins again.
    #[non_exhaustive]
    PeerLeave {
        /// The peer.
        peer: PeerId,
        /// Why the connection is closed.
        reason: LeaveReason,
    },
    /// A peer changed its metadata. If it changes again before the app has received this event, the app receives the
    /// latest value only.
    #[non_exhaustive]
    PeerMetadata {
        /// The peer.
        peer: PeerId,
        /// The new value. It is untrusted.
        metadata: Value,
    },
    /// A message from a peer. The messages of one peer and one channel arrive in order, unless the channel is
    /// unordered.
    #[non_exhaustive]
    Message {
        /// The sender.
        from: PeerId,
        /// The name of the channel. `None`: the group's main channel.
        channel: Option<Arc<str>>,
        /// The content.
        data: Payload,
    },
    /// The state of the membership changed. If it changes again before the app has received this event, the app
    /// receives the latest state only.
    #[non_exhaustive]
    StateChange {
        /// The new state.
        state: State,
        /// Why the group is in this state.
        reason: Reason,
        /// How the hub closed its connection, if that is why the state changed.
        close: Option<Close>,
    },
}

/// Why a peer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaveReason {
    /// The peer left the group.
    Left,
    /// The connection was lost: the peer crashed, or the network is interrupted. If other peers still see it, the group
    /// connects to it again.
    Lost,
    /// The peer broke a rule of the protocol. The group does not connect to it for 60 s.
    Invalid,
    /// The peer has connected anew. It joins again at once.
    Replaced,
    /// The app has not received the messages of this peer for so long that more than 64 MiB are waiting. The group
    /// connects to it again. All messages before this event have been delivered.
    Overflow,
}

/// The state of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The hub is not connected yet.
    Connecting,
    /// This peer is connecting to a member, or waits before it tries again.
    Joining,
    /// This peer is a member of the group.
    Joined,
    /// The hub is disconnected. The mesh keeps working, but no peer can join through this one.
    Reconnecting,
    /// The group was left. Final.
    Left,
}

/// Why a group is in its [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No problem.
    None,
    /// The hub cannot be reached, or it closed the connection.
    Unreachable,
    /// The hub can be reached, but does not answer.
    HubTimeout,
    /// The key function failed, or did not return within 10 s. It is called again later.
    KeyFailed,
    /// The access of this peer has expired (4740). The key function is asked for a fresh key.
    Expired,
    /// This peer was the only member, and a joiner could not connect to it (4744). It joins again.
    Evicted,
    /// A member does not answer. The next one is tried.
    PeerTimeout,
    /// The other peer answered, but no direct connection was established: a firewall or NAT. It stays the reason until
    /// some peer is connected.
    IceFailed,
    /// The member has as many neighbours as its app wants. It is tried again later.
    Full,
    /// The hub rejected the key or this peer. Final.
    Rejected,
}

/// How the hub closed its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Close {
    /// The close code; 1006 if the connection was lost.
    pub code: u16,
    /// The hub's text. Often empty.
    pub reason: String,
}

impl Close {
    pub(crate) const LOST: u16 = 1006;

    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_str() {
            "" => write!(f, "{}", self.code),
            reason => write!(f, "{}: {reason}", self.code),
        }
    }
}
