//! The events of a hub.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "serde")]
use super::serialize;
use crate::hub::admission::peer_data::PeerData;
use crate::hub::close::DisconnectReason;
use crate::hub::limits::Cause;
use crate::protocol::{GroupKey, PeerId};

/// An event of a hub, from [`SignalingHub::events`](crate::SignalingHub::events).
///
/// With the feature `serde`, it serializes as its fields and a `type`, such as `peer_joined`;
/// `sigver::guide::observability` has an example. `data` is not serialized.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "type", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum HubEvent {
    /// The first peer with this key joined.
    #[non_exhaustive]
    GroupCreated {
        /// The group's key.
        key: GroupKey,
    },
    /// A peer joined a group.
    #[non_exhaustive]
    PeerJoined {
        /// The id that the hub assigned to the peer. The hub never reuses it.
        peer: PeerId,
        /// The group's key.
        key: GroupKey,
        /// The identity that the app's [`Admission`](crate::Admission) gave the peer.
        identity: Option<Arc<str>>,
        /// The client IP, if it is known.
        client_ip: Option<IpAddr>,
        /// The value that the app gave the peer, see [`HubEvent::data`].
        #[cfg_attr(feature = "serde", serde(skip))]
        data: PeerData,
    },
    /// The hub answered a `connect` of a peer. A peer may send several.
    #[non_exhaustive]
    ConnectAnswered {
        /// The id that the hub assigned to the peer.
        peer: PeerId,
        /// The group's key.
        key: GroupKey,
        /// Whether the peer became a member. Otherwise, it is bound to a member.
        member: bool,
    },
    /// A peer left its group. Its connection may take longer to close.
    #[non_exhaustive]
    PeerLeft {
        /// The id that the hub assigned to the peer.
        peer: PeerId,
        /// The group's key.
        key: GroupKey,
        /// The identity that the app's [`Admission`](crate::Admission) gave the peer.
        identity: Option<Arc<str>>,
        /// The client IP, if it is known.
        client_ip: Option<IpAddr>,
        /// Why the peer left.
        reason: DisconnectReason,
        /// The time since the peer was admitted, as in [`PeerSnapshot::age`](crate::PeerSnapshot::age).
        #[cfg_attr(feature = "serde", serde(rename = "duration_seconds", serialize_with = "serialize::seconds"))]
        duration: Duration,
        /// The value that the app gave the peer, see [`HubEvent::data`].
        #[cfg_attr(feature = "serde", serde(skip))]
        data: PeerData,
    },
    /// The last peer with this key left.
    #[non_exhaustive]
    GroupRemoved {
        /// The group's key.
        key: GroupKey,
    },
    /// The hub rejected a join, or a request for ICE servers.
    #[non_exhaustive]
    Rejected {
        /// Whether a join was rejected, and not a request for ICE servers
        /// ([`JoinRequest::is_upgrade`](crate::JoinRequest::is_upgrade)).
        is_upgrade: bool,
        /// The limit or check that rejected it.
        cause: Cause,
        /// The reason that the peer received.
        reason: Arc<str>,
        /// The key of the request, or the one that the app's [`Admission`](crate::Admission) replaced it with. `None`
        /// if it is invalid, or if the app rejected the peer with
        /// [`SignalingHub::reject`](crate::SignalingHub::reject).
        key: Option<GroupKey>,
        /// The client IP. `None` if it is not known, or if the app called `SignalingHub::reject`.
        client_ip: Option<IpAddr>,
        /// The identity that the app's [`Admission`](crate::Admission) gave the peer, if a later check rejected it.
        identity: Option<Arc<str>>,
        /// The value that the app gave the peer, if a later check rejected it. See [`HubEvent::data`].
        #[cfg_attr(feature = "serde", serde(skip))]
        data: PeerData,
    },
    /// This reader was too slow and lost events.
    #[non_exhaustive]
    Lagged {
        /// The number of lost events.
        missed: u64,
    },
}

impl HubEvent {
    /// Returns the value that the app gave the event's peer with [`PeerInfo::data`](crate::PeerInfo::data). `None` if
    /// it gave none, or one of another type.
    ///
    /// `PeerJoined`, `PeerLeft` and `Rejected` have it; other events never do.
    pub fn data<T: 'static>(&self) -> Option<&T> {
        self.peer_data()?.get()
    }

    fn peer_data(&self) -> Option<&PeerData> {
        match self {
            Self::PeerJoined { data, .. } | Self::PeerLeft { data, .. } | Self::Rejected { data, .. } => Some(data),
            _ => None,
        }
    }

    /// Returns whether dropping the event can run code of the app: it holds a value of the app, or an error of the
    /// app's transport.
    pub(super) fn runs_app_code(&self) -> bool {
        self.peer_data().is_some_and(|data| !data.is_empty())
            || matches!(self, Self::PeerLeft { reason: DisconnectReason::ConnectionLost(_), .. })
    }
}
