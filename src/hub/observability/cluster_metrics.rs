//! Reports the counters of a cluster node to the `metrics` facade. Without the feature `metrics`, every method does
//! nothing.

#[cfg(not(feature = "metrics"))]
pub(in crate::hub) use noop::ClusterMetrics;
#[cfg(feature = "metrics")]
pub(in crate::hub) use reporting::ClusterMetrics;

#[cfg(feature = "metrics")]
mod reporting {
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    use crate::hub::observability::cluster_stats::{ClusterStats, StepOutcome};
    use crate::hub::observability::metrics::labels;

    /// Handles of the metrics, created with the hub. No label depends on user input.
    pub(in crate::hub) struct ClusterMetrics {
        nodes: Gauge,
        last_beat: Gauge,
        steps_waiting: Gauge,
        /// In the order of [`StepOutcome::ALL`].
        steps: [Histogram; StepOutcome::ALL.len()],
        records_sent: Counter,
        records_received: Counter,
        gaps: Counter,
        resets: Counter,
        repairs_put_back: Counter,
        repairs_removed: Counter,
        repairs_other_lineage: Counter,
        /// The counts at the last report.
        reported: Mutex<ClusterStats>,
    }

    impl ClusterMetrics {
        /// Creates the metrics of a hub with this name.
        pub(in crate::hub) fn new(hub: Option<&Arc<str>>) -> Self {
            describe_gauge!("sigver_cluster_nodes", "Nodes that were alive at the last beat, including this one");
            describe_gauge!(
                "sigver_cluster_last_beat_timestamp_seconds",
                Unit::Seconds,
                "Unix time of the last successful beat, 0 before the first one"
            );
            describe_gauge!("sigver_cluster_steps_waiting", "Groups whose next step waits for the engine");
            describe_histogram!(
                "sigver_cluster_step_duration_seconds",
                Unit::Seconds,
                "Duration of a step at the engine, by outcome: applied, condition_failed, full or unknown"
            );
            describe_counter!("sigver_cluster_records_sent_total", "Records sent to other nodes");
            describe_counter!("sigver_cluster_records_received_total", "Records received from other nodes");
            describe_counter!("sigver_cluster_gaps_total", "Times that records of another node were lost");
            describe_counter!("sigver_cluster_resets_total", "Times that another node lost records of this node");
            describe_counter!(
                "sigver_cluster_repairs_total",
                "Repairs of member lists, by kind: put_back, removed or other_lineage"
            );
            let named = || labels(hub, []);
            let step = |outcome| {
                let labels = labels(hub, [Label::from_static_parts("outcome", outcome)]);
                histogram!("sigver_cluster_step_duration_seconds", labels)
            };
            let repairs = |kind| {
                let labels = labels(hub, [Label::from_static_parts("kind", kind)]);
                counter!("sigver_cluster_repairs_total", labels)
            };
            Self {
                nodes: gauge!("sigver_cluster_nodes", named()),
                last_beat: gauge!("sigver_cluster_last_beat_timestamp_seconds", named()),
                steps_waiting: gauge!("sigver_cluster_steps_waiting", named()),
                steps: ["applied", "condition_failed", "full", "unknown"].map(step),
                records_sent: counter!("sigver_cluster_records_sent_total", named()),
                records_received: counter!("sigver_cluster_records_received_total", named()),
                gaps: counter!("sigver_cluster_gaps_total", named()),
                resets: counter!("sigver_cluster_resets_total", named()),
                repairs_put_back: repairs("put_back"),
                repairs_removed: repairs("removed"),
                repairs_other_lineage: repairs("other_lineage"),
                reported: Mutex::default(),
            }
        }

        pub(in crate::hub) fn step(&self, outcome: StepOutcome, duration: Duration) {
            self.steps[outcome as usize].record(duration);
        }

        /// Reports what has changed since the last report. The rooms count under their locks, where no recorder may
        /// run.
        pub(in crate::hub) fn report(&self, stats: &ClusterStats) {
            let last = {
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *reported, stats.clone())
            };
            self.nodes.set(stats.nodes as f64);
            self.steps_waiting.set(stats.steps_waiting as f64);
            if let Some(age) = stats.beat_age {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.last_beat.set(now.saturating_sub(age).as_secs_f64());
            }
            for (counter, now, last) in [
                (&self.records_sent, stats.records_sent, last.records_sent),
                (&self.records_received, stats.records_received, last.records_received),
                (&self.gaps, stats.gaps, last.gaps),
                (&self.resets, stats.resets, last.resets),
                (&self.repairs_put_back, stats.repairs_put_back, last.repairs_put_back),
                (&self.repairs_removed, stats.repairs_removed, last.repairs_removed),
                (&self.repairs_other_lineage, stats.repairs_other_lineage, last.repairs_other_lineage),
            ] {
                counter.increment(now - last);
            }
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod noop {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::hub::observability::cluster_stats::{ClusterStats, StepOutcome};

    /// Does nothing.
    pub(in crate::hub) struct ClusterMetrics {}

    impl ClusterMetrics {
        pub(in crate::hub) fn new(_hub: Option<&Arc<str>>) -> Self {
            Self {}
        }

        pub(in crate::hub) fn step(&self, _outcome: StepOutcome, _duration: Duration) {}
        pub(in crate::hub) fn report(&self, _stats: &ClusterStats) {}
    }
}
