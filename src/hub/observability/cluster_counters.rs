//! What the rooms and the driver of a cluster node count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::cluster_metrics::ClusterMetrics;
use super::cluster_stats::{ClusterStats, StepOutcome};
use crate::cluster::Repairs;

/// The counters that the rooms and the driver of one node share.
pub(in crate::hub) struct ClusterCounters {
    steps: [AtomicU64; StepOutcome::ALL.len()],
    steps_waiting: AtomicUsize,
    records_sent: AtomicU64,
    records_received: AtomicU64,
    gaps: AtomicU64,
    resets: AtomicU64,
    repairs_put_back: AtomicU64,
    repairs_removed: AtomicU64,
    repairs_other_lineage: AtomicU64,
    metrics: ClusterMetrics,
}

impl ClusterCounters {
    /// Creates the counters of a hub with this name.
    pub(in crate::hub) fn new(hub: Option<&Arc<str>>) -> Self {
        Self {
            steps: Default::default(),
            steps_waiting: AtomicUsize::new(0),
            records_sent: AtomicU64::new(0),
            records_received: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            repairs_put_back: AtomicU64::new(0),
            repairs_removed: AtomicU64::new(0),
            repairs_other_lineage: AtomicU64::new(0),
            metrics: ClusterMetrics::new(hub),
        }
    }

    /// Returns the counts, without what the bus knows: `nodes` and `beat_age`.
    pub(in crate::hub) fn load(&self) -> ClusterStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [steps_applied, steps_condition_failed, steps_full, steps_unknown] = self.steps.each_ref().map(load);
        ClusterStats {
            steps_applied,
            steps_condition_failed,
            steps_full,
            steps_unknown,
            steps_waiting: self.steps_waiting.load(Ordering::Relaxed),
            records_sent: load(&self.records_sent),
            records_received: load(&self.records_received),
            gaps: load(&self.gaps),
            resets: load(&self.resets),
            repairs_put_back: load(&self.repairs_put_back),
            repairs_removed: load(&self.repairs_removed),
            repairs_other_lineage: load(&self.repairs_other_lineage),
            ..ClusterStats::default()
        }
    }

    /// Counts a group that has a step to send.
    pub(in crate::hub) fn step_enqueued(&self) {
        self.steps_waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a group that had no step to send any more, or whose step has ended.
    pub(in crate::hub) fn step_dequeued(&self) {
        self.steps_waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a step that has ended. The caller must hold no lock, because the recorder of metrics is code of the app.
    pub(in crate::hub) fn count_step(&self, outcome: StepOutcome, duration: Duration) {
        self.steps[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.metrics.step(outcome, duration);
    }

    pub(in crate::hub) fn count_sent_records(&self, count: u64) {
        self.records_sent.fetch_add(count, Ordering::Relaxed);
    }

    pub(in crate::hub) fn count_received_record(&self) {
        self.records_received.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::hub) fn count_gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::hub) fn count_reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::hub) fn count_repairs(&self, repairs: Repairs) {
        self.repairs_put_back.fetch_add(repairs.put_back, Ordering::Relaxed);
        self.repairs_removed.fetch_add(repairs.removed, Ordering::Relaxed);
        self.repairs_other_lineage.fetch_add(repairs.other_lineage, Ordering::Relaxed);
    }

    /// Returns the metrics, which show these counters.
    pub(in crate::hub) fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }
}
