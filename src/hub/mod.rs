//! Runs the connections: timers, queues and limits around the protocol.
//!
//! These parts handle a peer:
//!
//! - [`admission`] checks a [`JoinRequest`], and grants a slot or rejects the join. [`checks`] defines the order of the
//!   checks, [`permit`] describes it, and [`serve`] is the one way into the hub.
//! - [`rooms`] contains one room per key. A *room* is a group behind one lock, with the bounded outboxes of its peers.
//! - [`connection`] contains the future of one peer. It reads and writes frames, and runs the peer's timers.
//! - [`close`] describes why a connection ends. [`app_closes`] closes peers on behalf of the app, and
//!   [`shutdown`] all peers.
//!
//! The other parts serve all peers:
//!
//! - [`shared`] contains the state that all peers of a hub share.
//! - [`builder`] and [`limits`] contain the settings.
//! - `ice` gives clients ICE servers, behind the feature `turn`.
//! - `cluster` makes the hub a node of a cluster, behind the feature of that name.
//! - [`observability`] contains the counters, snapshots, events and metrics.
//! - [`isolate`](isolate::isolate) contains the panics of the app's code and of single rooms.

mod admission;
mod app_closes;
mod builder;
mod checks;
mod close;
#[cfg(feature = "cluster")]
mod cluster;
mod connection;
#[cfg(feature = "turn")]
mod ice;
#[cfg(all(test, shuttle))]
mod interleavings;
mod isolate;
mod limits;
mod observability;
mod permit;
mod rooms;
mod serve;
mod shared;
mod shutdown;
mod sync;

use std::cmp::Reverse;

use futures::Stream;
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;

#[cfg(feature = "hyper")]
pub use admission::proxies::ClientIpHeader;
#[cfg(feature = "signed-keys")]
pub use admission::signed_keys::SignedKeys;
pub use admission::{
    hook::{Admission, PeerInfo},
    peer_data::PeerData,
    rejection::Rejection,
    request::JoinRequest,
};
#[cfg(feature = "hyper")]
pub(crate) use admission::{
    ip_block::{IpBlock, canonical},
    proxies::TrustedProxies,
};
pub use builder::HubBuilder;
pub use close::DisconnectReason;
#[cfg(feature = "cluster")]
pub use cluster::{config::ClusterConfig, driver::ClusterDriver};
#[cfg(feature = "turn")]
pub use ice::{
    configuration::{IceConfiguration, IceServer},
    servers::IceServers,
};
pub use limits::Cause;
pub use limits::config::{AtLimit, ConfigError};
#[cfg(feature = "hyper")]
pub(crate) use limits::{config::Config, token_bucket::TokenBucket};
#[cfg(feature = "cluster")]
pub use observability::cluster_stats::ClusterStats;
pub use observability::{
    events::HubEvent,
    snapshot::{GroupSnapshot, PeerSnapshot},
    stats::{CauseCounts, HubStats},
};
pub use permit::Permit;
#[cfg(feature = "hyper")]
pub(crate) use serve::PendingConnection;
pub use shared::SignalingHub;

use crate::protocol::GroupKey;
use rooms::largest::LargestRooms;

/// Configuration, events and snapshots.
impl SignalingHub {
    /// Returns a builder with the default settings.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let hub = sigver::SignalingHub::builder().max_peers_per_group(50).build()?;
    /// let builder = sigver::SignalingHub::builder().heartbeat_interval(Duration::from_secs(9));
    /// let error = builder.build().unwrap_err();
    /// assert_eq!(error.to_string(), "heartbeat_interval is 9s; must be greater than 0 and at most 5s");
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// Returns a stream of the events from now on. Each call creates an independent reader.
    ///
    /// A reader can be up to [`HubBuilder::event_capacity`] events behind. One that is further behind receives
    /// [`HubEvent::Lagged`] with the number of lost events; it never slows the hub. The stream ends when the last clone
    /// of the hub is dropped and its last peer has been served. In a cluster, its driver must also have ended.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use futures::StreamExt as _;
    /// use sigver::{HubEvent, SignalingHub, memory};
    ///
    /// let hub = SignalingHub::new();
    /// let mut events = hub.events();
    /// let alice = memory::join(&hub, "a key");
    /// assert!(matches!(events.next().await, Some(HubEvent::GroupCreated { .. })));
    /// assert!(matches!(events.next().await, Some(HubEvent::PeerJoined { .. })));
    /// # }
    /// ```
    pub fn events(&self) -> impl Stream<Item = HubEvent> + Send + Unpin + use<> {
        self.shared.events.subscribe(self.shared.config.event_capacity)
    }

    /// Returns a snapshot of every group, in no particular order. It locks one group at a time, so the snapshots are
    /// not taken at the same instant. In a cluster, it contains only the groups with peers on this node, and counts only
    /// these peers.
    ///
    /// With 100 000 groups it blocks its thread for tens of milliseconds. [`SignalingHub::largest_groups`] and
    /// [`SignalingHub::find_group`] do not.
    pub fn groups(&self) -> Vec<GroupSnapshot> {
        let shared = &self.shared;
        let rooms = shared.registry.rooms();
        let groups = rooms.iter().map(|room| room.group_snapshot(shared.registry.hash(room.key())));
        // The last peer of a group may have left in the meantime.
        groups.filter(|group| group.peers > 0).collect()
    }

    /// Returns snapshots of the `max` groups with the most peers, the largest first. Of groups of equal size, it returns
    /// those with the lowest [`GroupSnapshot::key_hash`].
    ///
    /// It yields to other tasks while it visits the groups, and keeps at most `max` of them. Groups that are created,
    /// removed or resized meanwhile may be missing; the snapshots are not taken at the same instant.
    ///
    /// # Cancel safety
    /// It changes nothing, so its future can be dropped at any time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use sigver::{SignalingHub, memory};
    ///
    /// let hub = SignalingHub::new();
    /// let _peers = ["large", "small", "large"].map(|key| memory::join(&hub, key));
    /// tokio::task::yield_now().await;
    /// let groups = hub.largest_groups(1).await;
    /// assert_eq!((groups[0].key.as_str(), groups[0].peers, groups.len()), ("large", 2, 1));
    /// # }
    /// ```
    pub async fn largest_groups(&self, max: usize) -> Vec<GroupSnapshot> {
        let registry = &self.shared.registry;
        let mut largest = LargestRooms::new(max);
        for shard in 0..registry.shard_count() {
            registry.add_shard(shard, &mut largest);
            yield_now().await;
        }
        let rooms = largest.into_rooms();
        let mut groups = Vec::with_capacity(rooms.len());
        for (hash, room) in rooms {
            groups.push(room.group_snapshot(hash));
            consume_budget().await;
        }
        // The groups may have changed since they were compared.
        groups.retain(|group| group.peers > 0);
        groups.sort_unstable_by_key(|group| (Reverse(group.peers), group.key_hash));
        groups
    }

    /// Returns a snapshot of the group with this [`GroupSnapshot::key_hash`], which identifies it in logs.
    ///
    /// It searches only a part of the groups: on a machine with n cores, about 1/(4n) of them or less.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use sigver::{SignalingHub, memory};
    ///
    /// let hub = SignalingHub::new();
    /// let _peer = memory::join(&hub, "a key");
    /// tokio::task::yield_now().await;
    /// let group = hub.groups().remove(0);
    /// assert_eq!(hub.find_group(group.key_hash), Some(group));
    /// # }
    /// ```
    pub fn find_group(&self, key_hash: u64) -> Option<GroupSnapshot> {
        let room = self.shared.registry.find_by_hash(key_hash)?;
        Some(room.group_snapshot(key_hash)).filter(|group| group.peers > 0)
    }

    /// Returns a snapshot of every peer with this key, in no particular order. Empty if there is none. In a cluster, it
    /// contains only the peers of this node.
    ///
    /// ```
    /// let hub = sigver::SignalingHub::new();
    /// assert!(hub.peers("a key").is_empty());
    /// ```
    pub fn peers(&self, key: impl AsRef<str>) -> Vec<PeerSnapshot> {
        // An invalid key has no group.
        let Ok(key) = GroupKey::new(key.as_ref()) else { return Vec::new() };
        let room = self.shared.registry.find(&key);
        room.map(|room| room.peer_snapshots(self.shared.clock())).unwrap_or_default()
    }
}

/// Searches.
impl SignalingHub {
    /// Returns a snapshot of every peer that matches the predicate, in no particular order, for example of all peers of
    /// a tenant. In a cluster, it contains only the peers of this node.
    ///
    /// It yields to other tasks while it visits the groups, and calls the predicate without a lock. Peers that join or
    /// leave meanwhile may be missing; the snapshots are not taken at the same instant. [`SignalingHub::peers`] visits
    /// one group only.
    ///
    /// # Cancel safety
    /// It changes nothing, so its future can be dropped at any time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use sigver::{SignalingHub, memory};
    ///
    /// let hub = SignalingHub::new();
    /// let _peers = ["acme/1", "acme/2", "globex/1"].map(|key| memory::join(&hub, key));
    /// tokio::task::yield_now().await;
    /// let is_of_acme = |tenant: Option<(String, _)>| tenant.is_some_and(|(name, _)| name == "acme");
    /// assert_eq!(hub.peers_where(|peer| is_of_acme(peer.key.namespace())).await.len(), 2);
    /// # }
    /// ```
    pub async fn peers_where(&self, mut predicate: impl FnMut(&PeerSnapshot) -> bool) -> Vec<PeerSnapshot> {
        let registry = &self.shared.registry;
        let mut matching = Vec::new();
        for shard in 0..registry.shard_count() {
            for room in registry.rooms_of_shard(shard) {
                matching.extend(room.peer_snapshots(self.shared.clock()).into_iter().filter(&mut predicate));
                consume_budget().await;
            }
        }
        matching
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn group_whose_last_peer_has_left_is_not_shown() {
        let hub = SignalingHub::new();
        let shown = async || {
            let (all, largest) = (hub.groups(), hub.largest_groups(9).await);
            let found = all.first().and_then(|group| hub.find_group(group.key_hash));
            (all.len(), largest.len(), found.is_some())
        };
        let key = GroupKey::new("K").expect("a valid key");
        let hash = hub.shared.registry.hash(&key);
        // The peer has not joined yet, or has left and not yet released the room.
        let room = hub.shared.registry.acquire(&key).expect("the hub is empty");
        assert_eq!(shown().await, (0, 0, false));
        assert_eq!(hub.find_group(hash), None);
        let peer = hub.admit("K").await.expect("the hub is empty");
        let (transport, _client) = crate::transport::pair(1);
        let served = tokio::spawn(peer.serve(transport));
        tokio::task::yield_now().await;
        assert_eq!(shown().await, (1, 1, true));
        hub.shared.registry.release(&room);
        served.abort();
    }
}
