//! The future of a node, which the app spawns.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures::future::{join5, select};
use tokio::sync::mpsc;
use tracing::Span;

use super::config::ClusterConfig;
use super::node::Node;
use super::strays::MAX_STRAYS;
use crate::cluster::{NodeId, Rules};
use crate::hub::observability::cluster_counters::ClusterCounters;
use crate::hub::rooms::bus::Bus;
use crate::hub::rooms::cluster_rooms::ClusterRooms;
use crate::hub::shared::{Shared, SignalingHub};

/// Connects a hub to the other nodes of its cluster, from
/// [`HubBuilder::build_cluster`](crate::HubBuilder::build_cluster).
///
/// A future that the app spawns. It answers the `connect` messages of the hub's peers, exchanges records with the other
/// nodes, and beats. It completes when the last clone of the hub was dropped, the last peer was served, and the other
/// nodes know that the peers have left.
///
/// # Cancel safety
/// Dropping it disconnects the hub from the other nodes. [`SignalingHub::is_ready`] returns false then. Links between
/// peers of this hub continue, but each further `connect` is closed with 1013 after `connect_answer_timeout`. The other
/// nodes declare this one dead after `node_timeout`.
#[must_use = "the hub answers no connect until its driver runs"]
pub struct ClusterDriver {
    run: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The span of all log lines of the driver.
    span: Span,
}

/// Turns readiness off when the driver ends or is dropped, and drops what waits for the driver.
struct Running {
    bus: Arc<Bus>,
    shared: Weak<Shared>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.bus.disconnect();
        if let Some(shared) = self.shared.upgrade() {
            shared.registry.rooms().iter().for_each(|room| shared.registry.remove_idle(room));
        }
    }
}

impl ClusterDriver {
    /// Makes a hub a node of a cluster.
    pub(in crate::hub) fn start(mut shared: Shared, config: ClusterConfig) -> (SignalingHub, Self) {
        let rules = Rules {
            eviction_min_age: shared.config.eviction_min_age,
            max_members: config.max_members_per_group,
            max_held_bytes: shared.config.max_outbox_bytes,
        };
        let me = NodeId(fastrand::u64(..));
        let counters = ClusterCounters::new(shared.config.name.as_ref());
        let bus = Bus::new(me, rules, config.max_outbox_bytes_per_node, config.connect_answer_timeout, counters);
        let bus = Arc::new(bus);
        shared.registry.set_cluster(ClusterRooms::new(bus.clone()));
        let span = shared.span();
        let shared = Arc::new(shared);
        let running = Running { bus: bus.clone(), shared: Arc::downgrade(&shared) };
        let (sender, strays) = mpsc::channel(MAX_STRAYS);
        let node = Node::new(shared.clone(), bus, config, sender);
        let run = async move {
            let _running = running;
            let (steps, strays, audits) = (node.run_steps(), node.run_strays(strays), node.run_audits());
            let loops = pin!(join5(steps, strays, node.run_sends(), node.run_receives(), audits));
            select(pin!(node.run_beats()), loops).await;
        };
        (SignalingHub { shared }, Self { run: Box::pin(run), span })
    }
}

impl Future for ClusterDriver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { run, span } = &mut *self;
        span.in_scope(|| run.as_mut().poll(cx))
    }
}

impl fmt::Debug for ClusterDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterDriver").finish_non_exhaustive()
    }
}
