//! The settings of a node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::{Backplane, MAX_BATCH_BYTES};
use crate::hub::limits::config::{Config, ConfigError};

/// The settings of a hub that is a node of a cluster, for
/// [`HubBuilder::build_cluster`](crate::HubBuilder::build_cluster).
///
/// All nodes of a cluster should have the same settings.
#[derive(Clone)]
#[must_use]
pub struct ClusterConfig {
    pub(super) backplane: Arc<dyn Backplane>,
    pub(super) connect_answer_timeout: Duration,
    pub(super) beat_interval: Duration,
    pub(super) node_timeout: Duration,
    pub(super) audit_interval: Duration,
    pub(super) max_members_per_group: usize,
    pub(super) max_outbox_bytes_per_node: usize,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Far below the 6 h for which an engine keeps a list after its last change or audit.
const HOUR: Duration = Duration::from_secs(3600);

/// The number of beats that a node may miss before the others declare it dead.
const MIN_BEATS: u32 = 4;

impl ClusterConfig {
    /// Creates the default settings for a backplane, which connects the nodes.
    pub fn new(backplane: impl Backplane) -> Self {
        Self {
            backplane: Arc::new(backplane),
            connect_answer_timeout: Duration::from_secs(15),
            beat_interval: Duration::from_secs(2),
            node_timeout: Duration::from_secs(10),
            audit_interval: Duration::from_secs(15 * 60),
            max_members_per_group: 1000,
            max_outbox_bytes_per_node: 4 * 1024 * 1024,
        }
    }

    /// Sets how long a `connect` may wait for its answer. Default: 15 s. Exceeding it closes the peer with 1013. It
    /// must be greater than 0 and at most one hour.
    ///
    /// A `connect` waits while the backplane is unreachable. Meanwhile, the hub reads nothing from the peer, and does
    /// not count missed heartbeats. It keeps sending heartbeats.
    pub fn connect_answer_timeout(mut self, timeout: Duration) -> Self {
        self.connect_answer_timeout = timeout;
        self
    }

    /// Sets the interval at which a node shows the other nodes that it is alive. Default: 2 s. It must be greater than
    /// 0 and at most one minute.
    pub fn beat_interval(mut self, interval: Duration) -> Self {
        self.beat_interval = interval;
        self
    }

    /// Sets the time after which a node that does not beat is declared dead. Default: 10 s. It must be at least 4 times
    /// `beat_interval`, and at most one hour.
    ///
    /// The other nodes then end the links to its peers and remove its members. If the node was only paused, it keeps
    /// its peers and returns as a new node. It closes a member with 4744 if the group was founded anew meanwhile. A node
    /// whose own beats fail for this time answers no `connect` until one succeeds.
    pub fn node_timeout(mut self, timeout: Duration) -> Self {
        self.node_timeout = timeout;
        self
    }

    /// Sets the interval at which a node compares the list of each group with its own members. Default: 15 min. It must
    /// be greater than 0 and at most one hour.
    ///
    /// An audit finds what lost messages left behind. It also keeps the list in the backplane, which removes a list 6 h
    /// after its last change or audit.
    pub fn audit_interval(mut self, interval: Duration) -> Self {
        self.audit_interval = interval;
        self
    }

    /// Sets the maximum number of members of a group on all nodes. Default: 1000. A peer that would become a further
    /// member is closed with 1013.
    ///
    /// The engine sends a node the whole list when that has changed, so the cost of a `connect` grows with the number
    /// of members. Peers that are bound to a member count only in `max_peers_per_group` of their node.
    pub fn max_members_per_group(mut self, count: usize) -> Self {
        self.max_members_per_group = count;
        self
    }

    /// Sets the maximum number of bytes that wait to be sent to one other node. Default: 4 MiB. It must be at least
    /// `max_message_bytes + 1024`, and at most 128 MiB.
    ///
    /// Exceeding it ends the links between the two nodes. Their peers stay connected, and connect again.
    pub fn max_outbox_bytes_per_node(mut self, bytes: usize) -> Self {
        self.max_outbox_bytes_per_node = bytes;
        self
    }

    /// Returns an error for the first invalid setting.
    pub(in crate::hub) fn check(&self, hub: &Config) -> Result<(), ConfigError> {
        let wrong = |field, value: String, rule| Err(ConfigError::new(field, value, rule));
        for (field, time, max, rule) in [
            (
                "connect_answer_timeout",
                self.connect_answer_timeout,
                HOUR,
                "must be greater than 0 and at most one hour",
            ),
            ("beat_interval", self.beat_interval, MINUTE, "must be greater than 0 and at most one minute"),
            ("audit_interval", self.audit_interval, HOUR, "must be greater than 0 and at most one hour"),
        ] {
            if time.is_zero() || time > max {
                return wrong(field, format!("{time:?}"), rule);
            }
        }
        if self.node_timeout < self.beat_interval * MIN_BEATS || self.node_timeout > HOUR {
            let value = format!("{:?}", self.node_timeout);
            return wrong("node_timeout", value, "must be at least 4 * beat_interval and at most one hour");
        }
        if self.max_members_per_group == 0 {
            return wrong("max_members_per_group", "0".to_owned(), "must be at least 1");
        }
        let bytes = self.max_outbox_bytes_per_node;
        if !(hub.max_message_bytes + 1024..=MAX_BATCH_BYTES).contains(&bytes) {
            let rule = "must be at least max_message_bytes + 1024 and at most 134217728";
            return wrong("max_outbox_bytes_per_node", bytes.to_string(), rule);
        }
        Ok(())
    }
}

/// Without the backplane, which may have credentials.
impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("connect_answer_timeout", &self.connect_answer_timeout)
            .field("beat_interval", &self.beat_interval)
            .field("node_timeout", &self.node_timeout)
            .field("audit_interval", &self.audit_interval)
            .field("max_members_per_group", &self.max_members_per_group)
            .field("max_outbox_bytes_per_node", &self.max_outbox_bytes_per_node)
            .finish_non_exhaustive()
    }
}
