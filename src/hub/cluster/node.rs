//! What the loops of a driver share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::coop::consume_budget;

use super::backoff::Backoff;
use super::config::ClusterConfig;
use crate::cluster::{Backplane, GroupTag, Inbox, NodeId, Nodes, Token};
use crate::hub::isolate::isolate;
use crate::hub::rooms::bus::Bus;
use crate::hub::rooms::registry::Registry;
use crate::hub::rooms::room::Room;
use crate::hub::shared::Shared;

/// One node of a cluster: its hub, its backplane, and what it knows of the other nodes.
pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) bus: Arc<Bus>,
    pub(super) backplane: Arc<dyn Backplane>,
    pub(super) config: ClusterConfig,
    pub(super) backoff: Backoff,
    /// Notified when a beat has succeeded and its reply is applied, so that steps may be sent.
    pub(super) has_beaten: Notify,
    /// Notified when this node has a new incarnation, so that it reads another inbox.
    pub(super) restarted: Notify,
    /// How fast an audit that is due before its time must be. The shortest time wins.
    pub(super) requested_audit: Mutex<Option<Duration>>,
    pub(super) audit_requested: Notify,
    /// Entries of this node in groups without a room here.
    pub(super) strays: mpsc::Sender<(GroupTag, Token)>,
    state: Mutex<State>,
}

/// The state of the other nodes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: Nodes,
    /// In a fixed order, so that runs with the same seed are equal.
    pub(super) inboxes: BTreeMap<NodeId, Inbox>,
}

impl Node {
    pub(super) fn new(
        shared: Arc<Shared>,
        bus: Arc<Bus>,
        config: ClusterConfig,
        strays: mpsc::Sender<(GroupTag, Token)>,
    ) -> Self {
        let nodes = Nodes::new(bus.me(), config.beat_interval, config.node_timeout);
        Self {
            shared,
            bus,
            backplane: config.backplane.clone(),
            config,
            backoff: Backoff::default(),
            has_beaten: Notify::new(),
            restarted: Notify::new(),
            requested_audit: Mutex::default(),
            audit_requested: Notify::new(),
            strays,
            state: Mutex::new(State { nodes, inboxes: BTreeMap::new() }),
        }
    }

    /// Returns the time since the hub was created.
    pub(super) fn now(&self) -> Duration {
        self.shared.clock()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Returns the room of a group, if this node has one.
    pub(super) fn find(&self, tag: GroupTag) -> Option<Arc<Room>> {
        self.registry().cluster()?.find(tag)
    }

    /// Locks the state of the other nodes. No room may be called under this lock.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // No code of the app runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a function with every room. It yields to other tasks.
    pub(super) async fn for_each_room(&self, mut call: impl FnMut(&Room)) {
        for shard in 0..self.registry().shard_count() {
            for room in self.registry().rooms_of_shard(shard) {
                isolate(|| call(&room));
                consume_budget().await;
            }
        }
        isolate(|| self.registry().report_gauges());
    }

    /// Ends all links with a node, because records were lost.
    pub(super) async fn end_links_with(&self, node: NodeId) {
        self.for_each_room(|room| room.end_links_with(node, self.now())).await;
    }

    /// Requests an audit of all groups, spread over a time.
    pub(super) fn request_audit(&self, spread: Duration) {
        let mut requested = self.requested_audit.lock().unwrap_or_else(PoisonError::into_inner);
        *requested = Some(requested.map_or(spread, |earlier| earlier.min(spread)));
        self.audit_requested.notify_one();
    }
}
