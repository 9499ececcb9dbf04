//! Snapshots of groups and peers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "serde")]
use super::serialize;
use crate::hub::admission::peer_data::PeerData;
use crate::protocol::{GroupKey, MemberId, PeerId};

/// A snapshot of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// The group's key.
    pub key: GroupKey,
    /// The hash that identifies the key in logs. It is constant while the hub exists and does not reveal the key.
    #[cfg_attr(feature = "serde", serde(serialize_with = "serialize::key_hash"))]
    pub key_hash: u64,
    /// The number of peers, members or not.
    pub peers: usize,
    /// The number of members.
    pub members: usize,
    /// The number of links between a joiner and a member.
    pub links: usize,
}

/// A snapshot of one peer.
///
/// Two snapshots are equal if their fields are. The data is not compared: two snapshots of one peer have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// The id that the hub assigned to the peer. The hub never reuses it.
    pub id: PeerId,
    /// The key of the peer's group.
    pub key: GroupKey,
    /// The identity that the app's [`Admission`](crate::Admission) gave the peer.
    pub identity: Option<Arc<str>>,
    /// The client IP, if it is known.
    pub client_ip: Option<IpAddr>,
    /// The time since the peer was admitted.
    #[cfg_attr(feature = "serde", serde(rename = "age_seconds", serialize_with = "serialize::seconds"))]
    pub age: Duration,
    /// The id that the peer chose as a member. `None` if it is not a member.
    pub member_id: Option<MemberId>,
    /// Whether the peer is bound to a member.
    pub is_bound: bool,
    /// The number of links whose member the peer is. A link stays when its joiner becomes a member.
    pub joiners: usize,
    /// The number of messages queued for the peer.
    pub queued_messages: usize,
    /// The size of the queued messages in bytes, plus 96 for each message.
    pub queued_bytes: usize,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(in crate::hub) data: PeerData,
}

impl PeerSnapshot {
    /// Returns the value that the app gave the peer with [`PeerInfo::data`](crate::PeerInfo::data). `None` if it gave
    /// none, or one of another type.
    pub fn data<T: 'static>(&self) -> Option<&T> {
        self.data.get()
    }
}
