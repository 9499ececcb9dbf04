//! What there is in a hub at one moment.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::SignalingHub;
use crate::protocol::{GroupKey, MemberId, PeerId};

/// One group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// What names it.
    pub key: GroupKey,
    /// What stands for the key in logs: the same for as long as the hub lives, and of no use to anybody else.
    pub hash: u64,
    /// Peers with that key, members or not.
    pub peers: usize,
    /// Those of them that are members.
    pub members: usize,
    /// Links between a joiner and a member.
    pub links: usize,
}

/// One peer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// The hub's own number for it, which no other peer of this hub ever has.
    pub peer: PeerId,
    /// Whom the app's [`Admission`](crate::Admission) took it for.
    pub identity: Option<Arc<str>>,
    /// Where it comes from, if that is known.
    pub address: Option<IpAddr>,
    /// How long ago it was let in.
    pub age: Duration,
    /// What it calls itself, when it is a member.
    pub member: Option<MemberId>,
    /// It has a link to a member that it asked to join by.
    pub is_bound: bool,
    /// How many joiners have a link to it.
    pub joiners: usize,
    /// Messages that wait for it.
    pub waiting_messages: usize,
    /// Their bytes, with 64 more for each message.
    pub waiting_bytes: usize,
}

impl SignalingHub {
    /// All groups, in no order. It locks one at a time, so they are not all of the same moment.
    pub fn groups(&self) -> Vec<GroupSnapshot> {
        let rooms = self.shared.registry.snapshot();
        let groups =
            rooms.iter().map(|room| room.group_snapshot(self.shared.registry.hash(room.key()), &self.shared.link_ids));
        // The last one may have left on the way.
        groups.filter(|group| group.peers > 0).collect()
    }

    /// The peers with a key, in no order: none when there is no such group.
    pub fn group(&self, key: &GroupKey) -> Vec<PeerSnapshot> {
        let room = self.shared.registry.find(key);
        room.map(|room| room.peer_snapshots(self.shared.clock(), &self.shared.link_ids)).unwrap_or_default()
    }
}
