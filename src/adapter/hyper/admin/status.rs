//! The JSON responses of the admin service.

use serde::Serialize;

use super::fields::Fields;
#[cfg(feature = "cluster")]
use crate::ClusterStats;
use crate::{Cause, CauseCounts, GroupSnapshot, PeerSnapshot, SignalingHub};

/// `/status` lists the largest groups, at most this number.
const MAX_LISTED_GROUPS: usize = 200;

/// The response of `/status`. It contains hashes of keys, as the log does: a key can be the only protection of a group.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    version: &'static str,
    /// Absent if the hub has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    draining: bool,
    ready: bool,
    peers: usize,
    groups: usize,
    links: usize,
    relayed_messages: u64,
    /// Absent if the hub has no ICE servers.
    #[cfg(feature = "turn")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ice_configurations: Option<u64>,
    rejections: Vec<(&'static str, u64)>,
    closes: Vec<(&'static str, u64)>,
    largest_groups: Vec<Group>,
    #[serde(flatten)]
    fields: &'a Fields,
    /// Absent if the hub is in no cluster.
    #[cfg(feature = "cluster")]
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
}

/// The counts of this node, as [`ClusterStats`] describes them.
#[cfg(feature = "cluster")]
#[derive(Serialize)]
struct Cluster {
    nodes: usize,
    beat_age_seconds: Option<f64>,
    steps: [(&'static str, u64); 4],
    steps_waiting: usize,
    records_sent: u64,
    records_received: u64,
    gaps: u64,
    resets: u64,
    repairs: [(&'static str, u64); 3],
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

impl<'a> Status<'a> {
    pub(super) async fn of(hub: &'a SignalingHub, fields: &'a Fields) -> Self {
        let groups = hub.largest_groups(MAX_LISTED_GROUPS).await;
        let stats = hub.stats();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            name: hub.name(),
            draining: hub.is_draining(),
            ready: hub.is_ready(),
            peers: stats.peers,
            groups: stats.groups,
            links: stats.links,
            relayed_messages: stats.relayed_messages,
            #[cfg(feature = "turn")]
            ice_configurations: hub.has_ice_servers().then_some(stats.ice_configurations),
            rejections: by_cause(&stats.rejections),
            closes: by_cause(&stats.closes),
            largest_groups: groups.iter().map(Group::of).collect(),
            fields,
            #[cfg(feature = "cluster")]
            cluster: hub.cluster_stats().as_ref().map(Cluster::of),
        }
    }
}

#[cfg(feature = "cluster")]
impl Cluster {
    fn of(stats: &ClusterStats) -> Self {
        Self {
            nodes: stats.nodes,
            beat_age_seconds: stats.beat_age.map(|age| age.as_secs_f64()),
            steps: [
                ("applied", stats.steps_applied),
                ("condition_failed", stats.steps_condition_failed),
                ("full", stats.steps_full),
                ("unknown", stats.steps_unknown),
            ],
            steps_waiting: stats.steps_waiting,
            records_sent: stats.records_sent,
            records_received: stats.records_received,
            gaps: stats.gaps,
            resets: stats.resets,
            repairs: [
                ("put_back", stats.repairs_put_back),
                ("removed", stats.repairs_removed),
                ("other_lineage", stats.repairs_other_lineage),
            ],
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
