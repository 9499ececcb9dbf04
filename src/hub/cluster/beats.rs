//! Shows the other nodes that this one is alive, and finds out which of them are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::node::Node;
use crate::cluster::{NodeEvent, NodeId};
use crate::hub::isolate::isolate;

/// The time between two log lines while the engine is unreachable.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How fast the groups are audited after the engine has lost state.
const AUDIT_AFTER_LOSS: Duration = Duration::from_secs(2);

/// How fast the groups are audited after the engine was unreachable. It then may have lost state, which each outage
/// would make all nodes restore at the same time.
const AUDIT_AFTER_OUTAGE: Duration = Duration::from_secs(30);

/// The failures of a row of beats.
#[derive(Debug, Default)]
struct Failures {
    since: Option<Instant>,
    logged_at: Option<Instant>,
}

impl Node {
    /// Beats until the hub has no handle, no peer and nothing to send any more.
    pub(super) async fn run_beats(&self) {
        let (mut failures, mut next) = (Failures::default(), Instant::now());
        let (mut is_checked, mut is_connected) = (false, false);
        loop {
            // Before the beat, because it may name the reason why the beat fails.
            is_checked = is_checked || self.check().await;
            let call = self.state().nodes.start_beat(self.now());
            let beat = timeout(self.config.beat_interval, self.backplane.beat(call.me, &call.silent)).await;
            match beat {
                Ok(Ok(reply)) => {
                    failures.end();
                    self.backoff.reset();
                    let events = self.state().nodes.finish_beat(call, &reply);
                    for event in events {
                        self.apply(event).await;
                    }
                    self.set_ready();
                    if !std::mem::replace(&mut is_connected, true) {
                        let nodes = self.bus.stats(self.now()).nodes;
                        tracing::info!(node = self.bus.me().0, nodes, "connected to the cluster");
                    }
                }
                Ok(Err(error)) => failures.log(&error.to_string()),
                Err(_) => failures.log(&format!("no reply within {:?}", self.config.beat_interval)),
            }
            isolate(|| self.bus.counters().metrics().report(&self.bus.stats(self.now())));
            if self.is_unused() {
                return;
            }
            // Beats that were missed are skipped.
            next = (next + self.config.beat_interval).max(Instant::now());
            sleep_until(next).await;
        }
    }

    /// Makes the last beat known. Steps are sent only after that, so all groups know already what the beat has told.
    fn set_ready(&self) {
        let nodes = &self.state().nodes;
        self.bus.set_ready(nodes.last_beat(), nodes.ready_until(), nodes.others().collect());
        self.has_beaten.notify_one();
    }

    /// Logs what an operator should change in the configuration of the engine. Returns whether the engine answered.
    async fn check(&self) -> bool {
        // A beat that fails logs why the engine does not answer.
        let Ok(Ok(findings)) = timeout(self.config.beat_interval, self.backplane.check()).await else { return false };
        for finding in findings {
            tracing::warn!(finding, "the engine of the cluster is not configured as it should be");
        }
        true
    }

    async fn apply(&self, event: NodeEvent) {
        match event {
            NodeEvent::DeclaredDead => self.restart().await,
            NodeEvent::EngineLostState => {
                tracing::warn!("the engine of the cluster lost state; members are put back");
                self.bus.repeat_syncs();
                self.request_audit(AUDIT_AFTER_LOSS);
            }
            NodeEvent::EngineReturned => {
                self.bus.repeat_syncs();
                self.request_audit(AUDIT_AFTER_OUTAGE);
            }
            NodeEvent::Dead(node) => {
                tracing::info!(node = node.0, "node is dead; its links end");
                let all = {
                    let state = &mut *self.state();
                    state.inboxes.remove(&node);
                    state.nodes.dead().collect()
                };
                let dead = self.bus.node_died(node, all);
                self.for_each_room(|room| room.node_died(node, &dead, self.now())).await;
            }
        }
    }

    /// Takes a new incarnation, because the other nodes declared this one dead. The peers stay connected.
    async fn restart(&self) {
        let me = NodeId(fastrand::u64(..));
        tracing::warn!(node = self.bus.me().0, new = me.0, "this node was declared dead, and continues as a new one");
        let all = {
            let state = &mut *self.state();
            state.nodes.new_incarnation(me, self.now());
            state.inboxes.clear();
            state.nodes.dead().collect()
        };
        let dead = self.bus.new_incarnation(me, all);
        self.restarted.notify_one();
        self.for_each_room(|room| room.new_incarnation(me, &dead, self.now())).await;
    }

    /// Returns whether only the driver has a handle of the hub, and nothing is left to send.
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && self.registry().room_count() == 0 && self.bus.is_idle()
    }
}

impl Failures {
    fn log(&mut self, error: &str) {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if self.logged_at.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL) {
            self.logged_at = Some(now);
            tracing::warn!(
                error,
                seconds = now.duration_since(since).as_secs(),
                "the engine of the cluster is unreachable"
            );
        }
    }

    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.logged_at = None;
            tracing::info!(seconds = since.elapsed().as_secs(), "the engine of the cluster is reachable again");
        }
    }
}
