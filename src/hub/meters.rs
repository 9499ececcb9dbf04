//! What a hub reports to the `metrics` facade, and nothing at all without the feature of that name.

#[cfg(feature = "metrics")]
pub(super) use reporting::{LinkMeter, Meters};
#[cfg(not(feature = "metrics"))]
pub(super) use silent::{LinkMeter, Meters};

#[cfg(feature = "metrics")]
mod reporting {
    use std::time::{Duration, Instant};

    use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    use crate::hub::Guard;
    use crate::protocol::CloseCode;

    /// Handles of what is counted often, taken when the hub is built; a recorder that is installed later gets none of
    /// these. No label grows with the users.
    pub(in crate::hub) struct Meters {
        peers: Gauge,
        groups: Gauge,
        admitted: Counter,
        bound: Counter,
        relayed_messages: Counter,
        relayed_bytes: Counter,
        outbox: Histogram,
        heartbeat: Histogram,
        reducer: Histogram,
    }

    /// How many links there are, counted where their ids are given out.
    pub(in crate::hub) struct LinkMeter(Gauge);

    impl Default for LinkMeter {
        fn default() -> Self {
            Self(gauge!("sigver_links"))
        }
    }

    impl LinkMeter {
        pub(in crate::hub) fn up(&self) {
            self.0.increment(1);
        }

        pub(in crate::hub) fn down(&self) {
            self.0.decrement(1);
        }
    }

    /// For how long the reducer has worked when this is handed back.
    pub(in crate::hub) struct Stopwatch(Instant);

    impl Default for Meters {
        fn default() -> Self {
            describe_gauge!("sigver_peers", "Peers whose sockets are open");
            describe_gauge!("sigver_groups", "Keys that have a peer");
            describe_gauge!("sigver_links", "Links between a joiner and a member");
            describe_counter!("sigver_joins_total", "Answers to connect");
            describe_counter!("sigver_relayed_messages_total", "Contents that were passed on");
            describe_counter!("sigver_relayed_bytes_total", Unit::Bytes, "The data in them");
            describe_counter!("sigver_closes_total", "Peers that the hub closed, by code");
            describe_counter!("sigver_turned_away_total", "Peers refused or put out, by the guard that did");
            describe_histogram!("sigver_outbox_messages", "Messages that wait for a peer, at each of its heartbeats");
            describe_histogram!(
                "sigver_heartbeat_seconds",
                Unit::Seconds,
                "From a heartbeat to a peer's next: up to a whole interval, as Netflux sends its own by a clock of its own"
            );
            describe_histogram!(
                "sigver_reducer_seconds",
                Unit::Seconds,
                "A connect or a leave, under its group's lock"
            );
            Self {
                peers: gauge!("sigver_peers"),
                groups: gauge!("sigver_groups"),
                admitted: counter!("sigver_joins_total", "answer" => "admitted"),
                bound: counter!("sigver_joins_total", "answer" => "bound"),
                relayed_messages: counter!("sigver_relayed_messages_total"),
                relayed_bytes: counter!("sigver_relayed_bytes_total"),
                outbox: histogram!("sigver_outbox_messages"),
                heartbeat: histogram!("sigver_heartbeat_seconds"),
                reducer: histogram!("sigver_reducer_seconds"),
            }
        }
    }

    impl Meters {
        pub(in crate::hub) fn opened(&self) {
            self.peers.increment(1);
        }

        pub(in crate::hub) fn left(&self) {
            self.peers.decrement(1);
        }

        pub(in crate::hub) fn group_created(&self) {
            self.groups.increment(1);
        }

        pub(in crate::hub) fn group_gone(&self) {
            self.groups.decrement(1);
        }

        pub(in crate::hub) fn answered(&self, admitted: bool) {
            if admitted { self.admitted.increment(1) } else { self.bound.increment(1) }
        }

        pub(in crate::hub) fn relayed(&self, bytes: usize) {
            self.relayed_messages.increment(1);
            self.relayed_bytes.increment(bytes as u64);
        }

        /// Relaying takes less than a look at the clock, so only the other events of a group are timed.
        pub(in crate::hub) fn reducer_starts(&self) -> Stopwatch {
            Stopwatch(Instant::now())
        }

        pub(in crate::hub) fn reducer_ends(&self, Stopwatch(start): Stopwatch) {
            self.reducer.record(start.elapsed());
        }

        pub(in crate::hub) fn waits(&self, messages: usize) {
            self.outbox.record(messages as f64);
        }

        pub(in crate::hub) fn heartbeat(&self, after: Duration) {
            self.heartbeat.record(after);
        }

        pub(in crate::hub) fn closed(&self, code: CloseCode) {
            // An app's codes are few, and its own.
            counter!("sigver_closes_total", "code" => code.code().to_string()).increment(1);
        }

        pub(in crate::hub) fn turned_away(&self, guard: Guard) {
            counter!("sigver_turned_away_total", "guard" => guard.name()).increment(1);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod silent {
    use std::time::Duration;

    use crate::hub::Guard;
    use crate::protocol::CloseCode;

    /// Nobody is told anything.
    #[derive(Default)]
    pub(in crate::hub) struct Meters {}

    pub(in crate::hub) struct Stopwatch;

    #[derive(Default)]
    pub(in crate::hub) struct LinkMeter {}

    impl LinkMeter {
        pub(in crate::hub) fn up(&self) {}
        pub(in crate::hub) fn down(&self) {}
    }

    impl Meters {
        pub(in crate::hub) fn opened(&self) {}
        pub(in crate::hub) fn left(&self) {}
        pub(in crate::hub) fn group_created(&self) {}
        pub(in crate::hub) fn group_gone(&self) {}
        pub(in crate::hub) fn answered(&self, _admitted: bool) {}
        pub(in crate::hub) fn relayed(&self, _bytes: usize) {}
        pub(in crate::hub) fn reducer_starts(&self) -> Stopwatch {
            Stopwatch
        }

        pub(in crate::hub) fn reducer_ends(&self, _: Stopwatch) {}
        pub(in crate::hub) fn waits(&self, _messages: usize) {}
        pub(in crate::hub) fn heartbeat(&self, _after: Duration) {}
        pub(in crate::hub) fn closed(&self, _code: CloseCode) {}
        pub(in crate::hub) fn turned_away(&self, _guard: Guard) {}
    }
}
