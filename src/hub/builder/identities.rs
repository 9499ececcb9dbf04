//! The limit of an identity among the settings of a hub.

use super::HubBuilder;
use crate::hub::limits::config::AtLimit;

/// Identities.
impl HubBuilder {
    /// Sets the maximum number of peers to which the [`Admission`](crate::Admission) hook gave the same identity, and
    /// what happens to a further one. Default: no limit.
    ///
    /// With [`AtLimit::RejectNew`], the number includes peers whose WebSocket handshake is not complete. A peer that has
    /// lost its network counts until it misses `max_missed_heartbeats` heartbeats, so its user may have to wait.
    ///
    /// With [`AtLimit::ReplaceOldest`], the hub closes the peers that it admitted first, once the new peer has joined.
    ///
    /// **Warning:** do not combine `ReplaceOldest` with clients that reconnect after 1008, such as Netflux. With a limit
    /// of 1, two tabs of one user would replace each other forever.
    ///
    /// Peers without an identity are not limited. In a cluster, each node counts its own peers.
    ///
    /// ```
    /// use sigver::{AtLimit, SignalingHub};
    ///
    /// let hub = SignalingHub::builder().max_peers_per_identity(5, AtLimit::RejectNew).build()?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn max_peers_per_identity(mut self, count: usize, at_limit: AtLimit) -> Self {
        self.config.max_peers_per_identity = Some((count, at_limit));
        self
    }
}
