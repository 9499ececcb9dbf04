//! Reports to the `metrics` facade. Without the feature `metrics`, every method does nothing.

#[cfg(not(feature = "metrics"))]
pub(in crate::hub) use noop::{DeferredGauge, Metrics};
#[cfg(all(feature = "cluster", feature = "metrics"))]
pub(super) use reporting::labels;
#[cfg(feature = "metrics")]
pub(in crate::hub) use reporting::{DeferredGauge, Metrics};

#[cfg(feature = "metrics")]
mod reporting {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::{Duration, Instant};

    use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    use crate::hub::limits::Cause;
    use crate::protocol::CloseCode;

    /// Handles of the frequent metrics. They are created with the hub, so a recorder must be installed before that. No
    /// label depends on user input.
    pub(in crate::hub) struct Metrics {
        hub: Option<Arc<str>>,
        peers: Gauge,
        member: Counter,
        bound: Counter,
        relayed_messages: Counter,
        relayed_bytes: Counter,
        outbox: Histogram,
        reserved_outbox_bytes: Gauge,
        heartbeat: Histogram,
        group_event: Histogram,
        #[cfg(feature = "turn")]
        ice_configurations: Counter,
    }

    /// A gauge that is changed under locks and reported outside of them, because the recorder is code of the app.
    pub(in crate::hub) struct DeferredGauge {
        gauge: Gauge,
        /// The changes that no thread has reported yet. Each thread reports after its changes, so none is left over.
        pending: AtomicI64,
    }

    impl DeferredGauge {
        pub(in crate::hub) fn groups(hub: Option<&Arc<str>>) -> Self {
            Self { gauge: gauge!("sigver_groups", labels(hub, [])), pending: AtomicI64::new(0) }
        }

        pub(in crate::hub) fn links(hub: Option<&Arc<str>>) -> Self {
            Self { gauge: gauge!("sigver_links", labels(hub, [])), pending: AtomicI64::new(0) }
        }

        pub(in crate::hub) fn increment(&self) {
            self.pending.fetch_add(1, Ordering::Relaxed);
        }

        pub(in crate::hub) fn decrement(&self) {
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }

        /// Reports all changes since the last report. The caller must hold no lock.
        pub(in crate::hub) fn report(&self) {
            match self.pending.swap(0, Ordering::Relaxed) {
                0 => {}
                change @ 1.. => self.gauge.increment(change as f64),
                change => self.gauge.decrement(change.unsigned_abs() as f64),
            }
        }
    }

    /// The start of one group event.
    pub(in crate::hub) struct Timer(Instant);

    impl Timer {
        pub(in crate::hub) fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
    }

    /// Returns the labels of a metric: its own, and the name of the hub if it has one.
    pub(in crate::hub) fn labels(hub: Option<&Arc<str>>, own: impl IntoIterator<Item = Label>) -> Vec<Label> {
        own.into_iter().chain(hub.map(|name| Label::new("hub", name.clone()))).collect()
    }

    impl Metrics {
        /// Creates the metrics of a hub with this name.
        pub(in crate::hub) fn new(hub: Option<Arc<str>>) -> Self {
            describe_gauge!("sigver_peers", "Joined peers");
            describe_gauge!("sigver_groups", "Groups with at least one peer");
            describe_gauge!("sigver_links", "Links between a joiner and a member");
            describe_counter!("sigver_connects_total", "Answers to connect messages, by outcome: member or bound");
            describe_counter!("sigver_relayed_messages_total", "Relayed content messages");
            describe_counter!("sigver_relayed_bytes_total", Unit::Bytes, "Payload bytes of relayed content messages");
            describe_counter!("sigver_closes_total", "Joined peers that the hub closed, by code and cause");
            describe_counter!(
                "sigver_rejections_total",
                "Rejected joins and rejected requests for ICE servers, by cause"
            );
            #[cfg(feature = "turn")]
            describe_counter!("sigver_ice_configurations_total", "Answered requests for ICE servers");
            describe_histogram!(
                "sigver_outbox_messages",
                "Messages queued for a peer, sampled each time that the hub's heartbeat to it is due"
            );
            describe_gauge!(
                "sigver_outbox_reserved_bytes",
                Unit::Bytes,
                "Bytes of max_total_outbox_bytes that all outboxes have reserved, updated at each heartbeat of the hub"
            );
            describe_histogram!(
                "sigver_heartbeat_delay_seconds",
                Unit::Seconds,
                "Time from a heartbeat of the hub to the first heartbeat of the peer after it: up to one interval, because Netflux sends on its own timer"
            );
            describe_histogram!(
                "sigver_group_event_duration_seconds",
                Unit::Seconds,
                "Duration of a connect or a leave, including the wait for the group's lock"
            );
            let labels = |own: Option<Label>| labels(hub.as_ref(), own);
            let connects = |outcome| {
                let outcome = Label::from_static_parts("outcome", outcome);
                counter!("sigver_connects_total", labels(Some(outcome)))
            };
            Self {
                peers: gauge!("sigver_peers", labels(None)),
                member: connects("member"),
                bound: connects("bound"),
                relayed_messages: counter!("sigver_relayed_messages_total", labels(None)),
                relayed_bytes: counter!("sigver_relayed_bytes_total", labels(None)),
                outbox: histogram!("sigver_outbox_messages", labels(None)),
                reserved_outbox_bytes: gauge!("sigver_outbox_reserved_bytes", labels(None)),
                heartbeat: histogram!("sigver_heartbeat_delay_seconds", labels(None)),
                group_event: histogram!("sigver_group_event_duration_seconds", labels(None)),
                #[cfg(feature = "turn")]
                ice_configurations: counter!("sigver_ice_configurations_total", labels(None)),
                hub,
            }
        }

        pub(in crate::hub) fn joined(&self) {
            self.peers.increment(1);
        }

        pub(in crate::hub) fn left(&self) {
            self.peers.decrement(1);
        }

        pub(in crate::hub) fn connect_answered(&self, member: bool) {
            if member { self.member.increment(1) } else { self.bound.increment(1) }
        }

        pub(in crate::hub) fn relayed(&self, bytes: usize) {
            self.relayed_messages.increment(1);
            self.relayed_bytes.increment(bytes as u64);
        }

        /// Starts to measure a group event. Relays are not measured: reading the clock would cost more than the relay.
        pub(in crate::hub) fn start_timer(&self) -> Timer {
            Timer(Instant::now())
        }

        pub(in crate::hub) fn group_event(&self, duration: Duration) {
            self.group_event.record(duration);
        }

        /// Records the length of one outbox, and the bytes that all of them have reserved.
        pub(in crate::hub) fn queued(&self, messages: usize, reserved_bytes: usize) {
            self.outbox.record(messages as f64);
            self.reserved_outbox_bytes.set(reserved_bytes as f64);
        }

        pub(in crate::hub) fn heartbeat(&self, after: Duration) {
            self.heartbeat.record(after);
        }

        pub(in crate::hub) fn closed(&self, code: CloseCode, cause: Option<Cause>) {
            // Not a label per peer: an app uses few close codes.
            let cause = Label::from_static_parts("cause", cause.map_or("none", Cause::as_str));
            let own = [Label::new("code", code.as_u16().to_string()), cause];
            counter!("sigver_closes_total", labels(self.hub.as_ref(), own)).increment(1);
        }

        pub(in crate::hub) fn rejected(&self, cause: Cause) {
            let own = [Label::from_static_parts("cause", cause.as_str())];
            counter!("sigver_rejections_total", labels(self.hub.as_ref(), own)).increment(1);
        }

        #[cfg(feature = "turn")]
        pub(in crate::hub) fn ice_configuration_sent(&self) {
            self.ice_configurations.increment(1);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod noop {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::hub::limits::Cause;
    use crate::protocol::CloseCode;

    /// Does nothing.
    pub(in crate::hub) struct Metrics {}

    pub(in crate::hub) struct Timer;

    impl Timer {
        pub(in crate::hub) fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    /// Does nothing.
    pub(in crate::hub) struct DeferredGauge;

    impl DeferredGauge {
        pub(in crate::hub) fn groups(_hub: Option<&Arc<str>>) -> Self {
            Self
        }

        pub(in crate::hub) fn links(_hub: Option<&Arc<str>>) -> Self {
            Self
        }

        pub(in crate::hub) fn increment(&self) {}
        pub(in crate::hub) fn decrement(&self) {}
        pub(in crate::hub) fn report(&self) {}
    }

    impl Metrics {
        pub(in crate::hub) fn new(_hub: Option<Arc<str>>) -> Self {
            Self {}
        }

        pub(in crate::hub) fn joined(&self) {}
        pub(in crate::hub) fn left(&self) {}
        pub(in crate::hub) fn connect_answered(&self, _member: bool) {}
        pub(in crate::hub) fn relayed(&self, _bytes: usize) {}
        pub(in crate::hub) fn start_timer(&self) -> Timer {
            Timer
        }

        pub(in crate::hub) fn group_event(&self, _duration: Duration) {}
        pub(in crate::hub) fn queued(&self, _messages: usize, _reserved_bytes: usize) {}
        pub(in crate::hub) fn heartbeat(&self, _after: Duration) {}
        pub(in crate::hub) fn closed(&self, _code: CloseCode, _cause: Option<Cause>) {}
        pub(in crate::hub) fn rejected(&self, _cause: Cause) {}
        #[cfg(feature = "turn")]
        pub(in crate::hub) fn ice_configuration_sent(&self) {}
    }
}
