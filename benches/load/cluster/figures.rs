//! The figures of all rounds, and the rows of the table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::connects::Connect;
use super::deployment::Cpu;
use crate::micros;
use crate::report::{Bound, Row};

/// What a figure was measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A hub that is not a node of a cluster.
    NoCluster,
    /// A cluster of one node.
    OneNode,
    /// A cluster of three nodes. The member and the joiner are on two of them.
    TwoNodes,
    /// A cluster of three nodes. The member and the joiner are on the same one.
    SameNode,
    /// Bare Redis Streams.
    Streams,
    /// A limit.
    Limit,
}

/// Which part of the system used CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Servers,
    Engine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Metric {
    /// The answer to a `connect`: a percentile of the times.
    Connect(Connect, u8),
    ConnectCpu(Connect, Part),
    /// With this number of messages in flight per pair.
    Relayed(usize),
    RelayCpu(usize, Part),
    /// At a fixed rate: a percentile of the times.
    RoundTrip(u8),
    RoundTripCpu(Part),
    /// With this number of messages while the joiner is bound.
    Memberships(usize),
    MembershipCpu(usize, Part),
    CrashTold,
    CrashClosed,
}

/// The order of the comparisons in the table.
const COMPARISONS: [(Subject, Subject); 7] = [
    (Subject::TwoNodes, Subject::SameNode),
    (Subject::TwoNodes, Subject::OneNode),
    (Subject::TwoNodes, Subject::NoCluster),
    (Subject::TwoNodes, Subject::Streams),
    (Subject::TwoNodes, Subject::Limit),
    (Subject::SameNode, Subject::NoCluster),
    (Subject::OneNode, Subject::NoCluster),
];

/// The figures of all rounds, by metric and subject.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<(Metric, Subject), Vec<f64>>);

impl Figures {
    pub(super) fn record(&mut self, subject: Subject, metric: Metric, figure: f64) {
        self.0.entry((metric, subject)).or_default().push(figure);
    }

    pub(super) fn record_times(&mut self, subject: Subject, metric: impl Fn(u8) -> Metric, nanos: &Histogram<u64>) {
        for percentile in [50, 99] {
            let figure = nanos.value_at_quantile(f64::from(percentile) / 100.0) as f64 / 1000.0;
            self.record(subject, metric(percentile), figure);
        }
    }

    pub(super) fn record_cpu(&mut self, subject: Subject, metric: impl Fn(Part) -> Metric, cpu: Cpu) {
        self.record(subject, metric(Part::Servers), micros(cpu.servers));
        self.record_engine(subject, metric, cpu.engine);
    }

    pub(super) fn record_engine(
        &mut self,
        subject: Subject,
        metric: impl Fn(Part) -> Metric,
        engine: Option<Duration>,
    ) {
        engine.into_iter().for_each(|time| self.record(subject, metric(Part::Engine), micros(time)));
    }

    /// Returns the rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (&(metric, subject), ours) in &self.0 {
            for (_, other) in COMPARISONS.into_iter().filter(|&(compared, _)| compared == subject) {
                let Some(theirs) = self.0.get(&(metric, other)) else { continue };
                rows.push(Row {
                    metric: format!("{subject}: {metric}"),
                    unit: metric.unit(),
                    ours: median(ours.clone()),
                    against: other.name(),
                    theirs: median(theirs.clone()),
                    ratio: median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()),
                    target: target(metric, subject, other),
                });
            }
        }
        rows
    }
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::NoCluster => "no cluster",
            Self::OneNode => "one node",
            Self::TwoNodes => "two of three nodes",
            Self::SameNode => "same node",
            Self::Streams => "streams",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Metric {
    fn unit(self) -> &'static str {
        match self {
            Self::Relayed(_) | Self::Memberships(_) => "per s",
            Self::CrashTold => "s",
            Self::CrashClosed => "peers",
            _ => "us",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(connect, percentile) => write!(f, "{connect}, p{percentile}"),
            Self::ConnectCpu(connect, part) => write!(f, "{connect}, {part}"),
            Self::Relayed(outstanding) => write!(f, "relayed messages, {outstanding} outstanding"),
            Self::RelayCpu(outstanding, part) => write!(f, "relayed message, {outstanding} outstanding, {part}"),
            Self::RoundTrip(percentile) => write!(f, "round trip at a moderate rate, p{percentile}"),
            Self::RoundTripCpu(part) => write!(f, "relayed message at a moderate rate, {part}"),
            Self::Memberships(messages) => write!(f, "memberships with {messages} messages"),
            Self::MembershipCpu(messages, part) => write!(f, "membership with {messages} messages, {part}"),
            Self::CrashTold => f.write_str("crash, until all joiners are told"),
            Self::CrashClosed => f.write_str("crash, closed peers of other nodes"),
        }
    }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first connect",
            Self::Repeated => "repeated connect",
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Servers => "CPU of the servers",
            Self::Engine => "CPU of the engine",
        })
    }
}

fn target(metric: Metric, subject: Subject, against: Subject) -> Bound {
    match (metric, subject, against) {
        (Metric::Relayed(_), Subject::SameNode, Subject::NoCluster) => Bound::AtLeast(0.9),
        (Metric::CrashTold, ..) => Bound::AtMost(1.0),
        (Metric::CrashClosed, ..) => Bound::AtMost(0.0),
        _ => Bound::None,
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
