//! Builds a hub that is a node of a cluster.

use super::HubBuilder;
use crate::hub::cluster::config::ClusterConfig;
use crate::hub::cluster::driver::ClusterDriver;
use crate::hub::limits::config::ConfigError;
use crate::hub::shared::{Shared, SignalingHub};

/// Clusters.
impl HubBuilder {
    /// Builds a hub that is a node of a cluster, and the driver that connects it to the other nodes.
    ///
    /// Peers with the same key meet, whichever node they are connected to. The app spawns the driver: the hub answers no
    /// `connect` without it. See [`ClusterDriver`] for what happens when it is dropped.
    ///
    /// # Errors
    /// The first setting with an invalid value, of the hub or of the cluster.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// use sigver::cluster::MemoryBackplane;
    /// use sigver::{ClusterConfig, SignalingHub, memory};
    ///
    /// // Two nodes in one process. Real nodes share a Redis.
    /// let engine = MemoryBackplane::new();
    /// let mut nodes = Vec::new();
    /// for _ in 0..2 {
    ///     let cluster = ClusterConfig::new(engine.connect());
    ///     let (hub, driver) = SignalingHub::builder().build_cluster(cluster)?;
    ///     tokio::spawn(driver);
    ///     nodes.push(hub);
    /// }
    ///
    /// let mut alice = memory::join(&nodes[0], "a key");
    /// let mut bob = memory::join(&nodes[1], "a key");
    /// assert!(alice.connect(1, &[]).await);
    /// assert!(!bob.connect(2, &[]).await, "Bob is bound to Alice, a peer of the other node");
    /// bob.send_content(0, "offer").await;
    /// assert_eq!(alice.recv_content().await.1, "offer");
    /// # Ok(())
    /// # }
    /// ```
    pub fn build_cluster(self, cluster: ClusterConfig) -> Result<(SignalingHub, ClusterDriver), ConfigError> {
        let (config, access_rules) = self.check()?;
        cluster.check(&config)?;
        Ok(ClusterDriver::start(Shared::new(config, access_rules), cluster))
    }
}
