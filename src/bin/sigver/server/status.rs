//! The JSON responses of the admin listener.

use serde::Serialize;
use sigver::{Cause, CauseCounts, GroupSnapshot, PeerSnapshot, SignalingHub};

use super::handshakes::Handshakes;

/// `/status` lists the largest groups, at most this number.
const MAX_LISTED_GROUPS: usize = 200;

/// The response of `/status`. It contains hashes of keys, as the log does: a key can be the only protection of a group.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    draining: bool,
    peers: usize,
    groups: usize,
    links: usize,
    relayed_messages: u64,
    rejections: Vec<(&'static str, u64)>,
    closes: Vec<(&'static str, u64)>,
    largest_groups: Vec<Group>,
    handshakes: usize,
    closed_handshakes: Vec<(&'static str, u64)>,
}

#[derive(Serialize)]
struct Group {
    hash: String,
    peers: usize,
    members: usize,
    links: usize,
}

/// A peer in the response of `/groups/HASH`.
#[derive(Serialize)]
pub(super) struct Peer {
    peer: u64,
    identity: Option<String>,
    client_ip: Option<String>,
    age_seconds: u64,
    member_id: Option<u32>,
    is_bound: bool,
    joiners: usize,
    queued_messages: usize,
    queued_bytes: usize,
}

impl Status {
    pub(super) async fn of(hub: &SignalingHub, handshakes: &Handshakes) -> Self {
        let groups = hub.largest_groups(MAX_LISTED_GROUPS).await;
        let stats = hub.stats();
        let closed = handshakes.closes().map(|(cause, count)| (cause.as_str(), count));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            draining: hub.is_draining(),
            peers: stats.peers,
            groups: stats.groups,
            links: stats.links,
            relayed_messages: stats.relayed_messages,
            rejections: by_cause(&stats.rejections),
            closes: by_cause(&stats.closes),
            largest_groups: groups.iter().map(Group::of).collect(),
            handshakes: handshakes.pending(),
            closed_handshakes: closed.into_iter().filter(|(_, count)| *count > 0).collect(),
        }
    }
}

impl Group {
    fn of(group: &GroupSnapshot) -> Self {
        Self {
            hash: format!("{:016x}", group.key_hash),
            peers: group.peers,
            members: group.members,
            links: group.links,
        }
    }
}

impl Peer {
    pub(super) fn of(peer: &PeerSnapshot) -> Self {
        Self {
            peer: peer.id.0,
            identity: peer.identity.as_deref().map(str::to_owned),
            client_ip: peer.client_ip.map(|ip| ip.to_string()),
            age_seconds: peer.age.as_secs(),
            member_id: peer.member_id.map(|id| id.0),
            is_bound: peer.is_bound,
            joiners: peer.joiners,
            queued_messages: peer.queued_messages,
            queued_bytes: peer.queued_bytes,
        }
    }
}

/// Returns the counts that are not 0.
fn by_cause(counts: &CauseCounts) -> Vec<(&'static str, u64)> {
    let counts = Cause::ALL.iter().map(|&cause| (cause.as_str(), counts.get(cause)));
    counts.filter(|(_, count)| *count > 0).collect()
}
