//! What the rooms of a node and the driver of its cluster share: the records for other nodes, the groups that have a
//! step to send, and what is known of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::cluster::{ClusterGroup, GroupTag, NodeId, Outbound, Record, Rules};
use crate::hub::observability::cluster_counters::ClusterCounters;
use crate::hub::observability::cluster_stats::ClusterStats;
use crate::protocol::PeerId;

/// The connection between the rooms of one node and its driver.
///
/// A room calls it under the lock of the room. It therefore calls no room, and the driver calls no room while it holds
/// the lock of the bus.
pub(in crate::hub) struct Bus {
    rules: Rules,
    max_outbox_bytes_per_node: usize,
    connect_answer_timeout: Duration,
    next_stand_in: AtomicU64,
    state: Mutex<State>,
    groups_changed: Notify,
    records_changed: Notify,
    /// Notifies all that wait for the end of batches.
    batch_ended: Notify,
    counters: ClusterCounters,
}

#[derive(Debug)]
struct State {
    me: NodeId,
    /// The driver has ended, so nothing is kept for it.
    is_disconnected: bool,
    /// The nodes that were declared dead. All groups share the set.
    dead: Arc<BTreeSet<NodeId>>,
    /// In a fixed order, so that tests with equal random numbers have equal runs.
    outbounds: BTreeMap<NodeId, Outbound>,
    /// The nodes whose outbound discarded records. The driver has not ended the links with them yet.
    overflowed: BTreeSet<NodeId>,
    /// The groups that have a step to send.
    groups: Vec<GroupTag>,
    /// Until when this node is ready, on the hub's clock. `None` before the first beat, and without a driver.
    ready_until: Option<Duration>,
    /// The start of the last successful beat, on the hub's clock.
    last_beat: Option<Duration>,
    /// The other nodes that were alive at the last beat.
    others: Vec<NodeId>,
}

impl State {
    fn beat_age(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.last_beat?))
    }
}

/// The first stand-in. The ids of peers count from 0, so no peer ever has the id of a stand-in.
const FIRST_STAND_IN: u64 = 1 << 63;

impl Bus {
    pub(in crate::hub) fn new(
        me: NodeId,
        rules: Rules,
        max_outbox_bytes_per_node: usize,
        connect_answer_timeout: Duration,
        counters: ClusterCounters,
    ) -> Self {
        let state = State {
            me,
            is_disconnected: false,
            dead: Arc::default(),
            outbounds: BTreeMap::new(),
            overflowed: BTreeSet::new(),
            groups: Vec::new(),
            ready_until: None,
            last_beat: None,
            others: Vec::new(),
        };
        Self {
            rules,
            max_outbox_bytes_per_node,
            connect_answer_timeout,
            next_stand_in: AtomicU64::new(FIRST_STAND_IN),
            state: Mutex::new(state),
            groups_changed: Notify::new(),
            records_changed: Notify::new(),
            batch_ended: Notify::new(),
            counters,
        }
    }

    /// Returns the time after which a peer is closed if its `connect` has no answer.
    pub(in crate::hub) fn connect_answer_timeout(&self) -> Duration {
        self.connect_answer_timeout
    }

    /// Returns the number of members above which a group does not grow.
    pub(super) fn max_members(&self) -> usize {
        self.rules.max_members
    }

    /// Returns the part of this node in a group, without peers.
    pub(super) fn new_group(&self, tag: GroupTag) -> ClusterGroup {
        let state = self.lock();
        ClusterGroup::new(state.me, state.dead.clone(), tag, self.rules)
    }

    /// Returns a new id for the remote end of a link.
    pub(super) fn new_stand_in(&self) -> PeerId {
        PeerId(self.next_stand_in.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns whether this node has reached the engine lately.
    pub(in crate::hub) fn is_ready(&self, now: Duration) -> bool {
        self.lock().ready_until.is_some_and(|until| now < until)
    }

    /// Returns whether the driver has ended.
    pub(super) fn is_disconnected(&self) -> bool {
        self.lock().is_disconnected
    }

    /// Returns the time since the last successful beat started. `None` before the first one.
    pub(in crate::hub) fn beat_age(&self, now: Duration) -> Option<Duration> {
        self.lock().beat_age(now)
    }

    /// Returns what this node has counted.
    pub(in crate::hub) fn counters(&self) -> &ClusterCounters {
        &self.counters
    }

    /// Returns the current counts.
    pub(in crate::hub) fn stats(&self, now: Duration) -> ClusterStats {
        let state = self.lock();
        ClusterStats {
            // Without a driver, this node is not connected to any other.
            nodes: if state.ready_until.is_some() { state.others.len() + 1 } else { 0 },
            beat_age: state.beat_age(now),
            ..self.counters.load()
        }
    }

    /// Tells the driver that a group has a step to send.
    pub(super) fn enqueue_group(&self, tag: GroupTag) {
        let mut state = self.lock();
        if !state.is_disconnected {
            self.counters.step_enqueued();
            state.groups.push(tag);
            self.groups_changed.notify_one();
        }
    }

    /// Sends a record to a node. `from` is the incarnation for which it was created: records of an earlier one, and
    /// records for a dead node, are dropped.
    pub(in crate::hub) fn send(&self, from: NodeId, to: NodeId, record: &Record) {
        let max_bytes = self.max_outbox_bytes_per_node;
        let state = &mut *self.lock();
        if from != state.me || state.dead.contains(&to) || state.is_disconnected {
            return;
        }
        let outbound = state.outbounds.entry(to).or_insert_with(|| Outbound::new(from, max_bytes));
        if outbound.push(record).is_err() {
            state.overflowed.insert(to);
        }
        self.records_changed.notify_one();
    }

    /// Sends a record to all other nodes.
    pub(in crate::hub) fn broadcast(&self, record: &Record) {
        let (me, others) = {
            let state = self.lock();
            (state.me, state.others.clone())
        };
        others.into_iter().for_each(|node| self.send(me, node, record));
    }

    /// Waits until the engine has confirmed all records.
    pub(in crate::hub) async fn wait_for_no_record(&self) {
        loop {
            let ended = self.batch_ended.notified();
            if self.is_idle() {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of the app runs under this lock, and each change leaves a valid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the driver.
impl Bus {
    /// Returns the incarnation of this node.
    pub(in crate::hub) fn me(&self) -> NodeId {
        self.lock().me
    }

    /// Waits until a group has a step to send, and returns all such groups.
    pub(in crate::hub) async fn take_groups(&self) -> Vec<GroupTag> {
        loop {
            let groups = std::mem::take(&mut self.lock().groups);
            if !groups.is_empty() {
                return groups;
            }
            self.groups_changed.notified().await;
        }
    }

    /// Waits until a room has sent a record.
    pub(in crate::hub) async fn wait_for_records(&self) {
        self.records_changed.notified().await;
    }

    /// Returns the batches that are due. The caller sends each, and then calls [`Bus::sent`].
    pub(in crate::hub) fn next_batches(&self, now: Duration) -> Vec<(NodeId, Bytes)> {
        let outbounds = &mut self.lock().outbounds;
        outbounds.iter_mut().filter_map(|(&to, outbound)| Some((to, outbound.next_batch(now)?))).collect()
    }

    /// Returns the time at which the next batch is due.
    pub(in crate::hub) fn next_batch_at(&self) -> Option<Duration> {
        self.lock().outbounds.values().filter_map(Outbound::due_at).min()
    }

    /// Notes that a batch of this incarnation was sent.
    pub(in crate::hub) fn sent(&self, from: NodeId, to: NodeId) {
        let state = &mut *self.lock();
        if from == state.me
            && let Some(outbound) = state.outbounds.get_mut(&to)
        {
            self.counters.count_sent_records(outbound.sent());
            self.batch_ended.notify_waiters();
        }
    }

    /// Returns whether a batch of an incarnation still matters to a node.
    pub(in crate::hub) fn is_wanted(&self, from: NodeId, to: NodeId) -> bool {
        let state = self.lock();
        from == state.me && state.outbounds.contains_key(&to)
    }

    /// Returns whether the engine has confirmed all records.
    pub(in crate::hub) fn is_idle(&self) -> bool {
        self.lock().outbounds.values().all(Outbound::is_idle)
    }

    /// Returns the nodes for which records were discarded since the last call.
    pub(in crate::hub) fn take_overflowed(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.lock().overflowed)
    }

    /// Sends SYNCs to all nodes, because the engine may have lost the last records.
    pub(in crate::hub) fn repeat_syncs(&self) {
        self.lock().outbounds.values_mut().for_each(Outbound::repeat_syncs);
        self.records_changed.notify_one();
    }

    /// Notes that a node has died. `dead` has all dead nodes. Returns what the groups keep of them.
    pub(in crate::hub) fn node_died(&self, node: NodeId, dead: BTreeSet<NodeId>) -> Arc<BTreeSet<NodeId>> {
        let state = &mut *self.lock();
        state.outbounds.remove(&node);
        self.batch_ended.notify_waiters();
        state.overflowed.remove(&node);
        state.dead = Arc::new(dead);
        state.dead.clone()
    }

    /// Replaces the incarnation of this node. `dead` has all dead nodes, and the old incarnation.
    pub(in crate::hub) fn new_incarnation(&self, me: NodeId, dead: BTreeSet<NodeId>) -> Arc<BTreeSet<NodeId>> {
        let state = &mut *self.lock();
        state.me = me;
        state.outbounds.clear();
        self.batch_ended.notify_waiters();
        state.overflowed.clear();
        state.dead = Arc::new(dead);
        state.dead.clone()
    }

    /// Notes the start of the last beat, until when this node is ready, and the other nodes that are alive.
    pub(in crate::hub) fn set_ready(&self, last_beat: Option<Duration>, until: Option<Duration>, others: Vec<NodeId>) {
        let state = &mut *self.lock();
        (state.last_beat, state.ready_until, state.others) = (last_beat, until, others);
    }

    /// Notes that this node is disconnected from the others, because its driver has ended.
    pub(in crate::hub) fn disconnect(&self) {
        let state = &mut *self.lock();
        (state.is_disconnected, state.ready_until) = (true, None);
        (state.groups, state.outbounds) = Default::default();
        self.batch_ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
