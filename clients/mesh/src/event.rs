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
    /// The connection to a peer is open, and the peer has introduced itself. No message of the peer arrives before this
    /// event.
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
    /// The connection to a peer is closed. No further messages of the peer follow, unless it joins again. Not reported
    /// for the peers that are connected when this peer itself leaves.
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
    /// The state of the membership, its reason or its close changed. The state can be the same as before, for example
    /// when another attempt failed for another reason. If it changes again before the app has received this event, the
    /// app receives the latest change only.
    ///
    /// The first one after [`Group::join`](crate::Group::join) reports [`State::Joined`], unless the state has changed
    /// again by then. [`PeerJoin`](Self::PeerJoin) can come before it.
    ///
    /// If the hub rejects this peer later, the group is left: this event has [`State::Left`], [`Reason::Rejected`] and
    /// the close, and no other event follows. If the key function returns an invalid key later, this event has
    /// [`State::Left`] and [`Reason::KeyFailed`].
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
    /// The connection was lost: the peer crashed, or the network is interrupted, which is noticed after 12 to 14 s. Or
    /// the app of the peer does not receive: the peer closes the connection when more than 64 MiB from this one are
    /// waiting, and this peer closes it when the other one has accepted nothing for 30 s. If other peers still see it,
    /// the group connects to it again.
    Lost,
    /// The peer broke a rule of the protocol. The group does not connect to it for 60 s.
    Invalid,
    /// The peer has connected anew. It joins again at once.
    Replaced,
    /// More than 64 MiB of messages of this peer were waiting for the app. The group connects to it again. All messages
    /// before this event have been delivered.
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
    /// The hub is disconnected. The mesh keeps working, but no peer can join through this one. It is connected again
    /// with a back-off: 1 s that doubles up to 30 s, each time multiplied by a random number from 0.5 to 1.
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
    /// The hub cannot be reached, or it closed the connection. [`Group::join`](crate::Group::join) lists
    /// what that includes. The log has the cause.
    Unreachable,
    /// The hub does not answer within 10 s, or its heartbeats have stopped. The log has the cause.
    HubTimeout,
    /// The key function failed, or did not return within 10 s. It is called again later. With [`State::Left`]: it
    /// returned an invalid key. Final.
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
    /// The member has reached its `max_peers`. It is tried again later.
    Full,
    /// The hub rejected the key or this peer. Final. [`Close::code`] lists the codes.
    Rejected,
}

/// How the hub closed its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Close {
    /// The close code; 1006 if the connection was lost.
    ///
    /// These codes are final, because the hub would close the next connection, too: 1002, 1008 (also for the HTTP
    /// statuses 401 and 403), 1009, 4000 to 4739, 4741, 4743 and 4745 to 4999. 4740 is final unless [`Key::from_fn`]
    /// returns a fresh key that the hub accepts. After all others, the group connects again.
    ///
    /// [`Key::from_fn`]: crate::Key::from_fn
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
