//! Snapshots of groups and peers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{GroupKey, MemberId, PeerId};

/// A snapshot of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// The group's key.
    pub key: GroupKey,
    /// The hash that identifies the key in logs. It is constant while the hub exists and does not reveal the key.
    pub key_hash: u64,
    /// The number of peers, members or not.
    pub peers: usize,
    /// The number of members.
    pub members: usize,
    /// The number of links between a joiner and a member.
    pub links: usize,
}

/// A snapshot of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
