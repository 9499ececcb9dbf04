//! Compares sigver with bare relays and the reference server. Each round measures all servers in turn, and ratios are
//! taken within a round.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Protocol;
use crate::process::Server;
use crate::relay::{self, Load};
use crate::report::{self, Bound, Row};
use crate::server::{Kind, Settings};
use crate::{idle, joins, micros};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// npm sigver's `dist/server.js` [default: do not measure the reference server]
    #[arg(long)]
    reference: Option<PathBuf>,
    /// Number of rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Duration of each load of each server in a round, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Number of idle peers
    #[arg(long, default_value_t = 5000)]
    idle: u32,
    /// Number of joins
    #[arg(long, default_value_t = 8000)]
    joins: u32,
    /// Adapters to measure, each with its bare relay
    #[arg(long, value_delimiter = ',', default_values = ["hyper", "axum", "warp"])]
    adapters: Vec<Kind>,
    /// Folder for `table.txt`, `table.csv` and `chart.svg`
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
}

/// Payload bytes and messages in flight per pair.
const LOADS: [(u16, usize); 4] = [(200, 1), (200, 16), (1000, 1), (1000, 16)];

/// More than a peer of the fastest load sends, so that the loads do not measure this limit.
const BYTES_PER_SECOND: u32 = 8 << 20;

/// The figures of all rounds, by server and metric.
type Measured = BTreeMap<(Subject, Metric), Vec<f64>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Ours(&'static str),
    Bare(&'static str),
    Timers,
    Echo,
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    Relayed(u16, usize),
    Cpu(u16, usize),
    RoundTrip,
    Join,
    IdleMemory,
    IdleCpu,
}

/// Returns an adapter's name and its bare relay.
fn bare(kind: Kind) -> (&'static str, Kind) {
    match kind {
        Kind::Hyper => ("hyper", Kind::BareHyper),
        Kind::Axum => ("axum", Kind::BareAxum),
        Kind::Warp => ("warp", Kind::BareWarp),
        other => panic!("{other:?} is not an adapter"),
    }
}

pub(crate) async fn run(args: &Args) {
    let mut measured = Measured::new();
    let settings = Settings { bytes_per_second: Some(BYTES_PER_SECOND), ..Settings::default() };
    for round in 1..=args.rounds {
        for &kind in &args.adapters {
            let (name, bare) = bare(kind);
            // The two servers run directly after each other, and each is first in every other round.
            let mut both = [(Subject::Ours(name), kind), (Subject::Bare(name), bare)];
            if round % 2 == 0 {
                both.reverse();
            }
            for metric in metrics() {
                for (subject, kind) in both {
                    let server = Server::start(kind, &settings).await;
                    measure(args, &server, subject, metric, &mut measured).await;
                }
                eprintln!("\rround {round} of {}: {name}, {metric:?}", args.rounds);
            }
        }
        for (subject, kind, metric) in
            [(Subject::Echo, Kind::Echo, Metric::IdleMemory), (Subject::Timers, Kind::BareHeartbeats, Metric::IdleCpu)]
        {
            measure(args, &Server::start(kind, &settings).await, subject, metric, &mut measured).await;
        }
        if let Some(script) = &args.reference {
            for metric in metrics() {
                measure(args, &Server::reference(script).await, Subject::Reference, metric, &mut measured).await;
                eprintln!("\rround {round} of {}: reference, {metric:?}", args.rounds);
            }
        }
    }
    let rows = rows(args, &measured);
    let text = report::text(&rows);
    println!("{text}");
    std::fs::create_dir_all(&args.out).expect("the folder is writable");
    for (file, content) in [("table.txt", text), ("table.csv", report::csv(&rows)), ("chart.svg", report::svg(&rows))] {
        std::fs::write(args.out.join(file), content).expect("the file is writable");
    }
}

fn metrics() -> impl Iterator<Item = Metric> {
    LOADS.into_iter().map(|(bytes, outstanding)| Metric::Relayed(bytes, outstanding)).chain([
        Metric::RoundTrip,
        Metric::Join,
        Metric::IdleMemory,
        Metric::IdleCpu,
    ])
}

async fn measure(args: &Args, server: &Server, subject: Subject, metric: Metric, measured: &mut Measured) {
    let mut record = |metric, figure| measured.entry((subject, metric)).or_default().push(figure);
    let load = Load { pairs: 100, bytes: 200, outstanding: 1, rate: None, seconds: args.seconds };
    match metric {
        Metric::Relayed(bytes, outstanding) => {
            let load = Load { bytes, outstanding, ..load };
            let figures = relay::run([&server.target; 2], &load, &[server.process()]).await;
            record(metric, figures.relayed);
            record(Metric::Cpu(bytes, outstanding), micros(figures.cpu_times[0]));
        }
        Metric::RoundTrip => {
            // About half of the throughput of a bare relay with one message in flight, on two cores.
            let load = Load { rate: Some(30_000.0), ..load };
            let figures = relay::run([&server.target; 2], &load, &[]).await;
            record(metric, figures.round_trips.value_at_quantile(0.99) as f64 / 1000.0);
        }
        Metric::Join if server.target.protocol != Protocol::Sigver => {}
        Metric::Join => record(metric, micros(joins::measure(server, args.joins).await)),
        Metric::IdleMemory => record(metric, idle::memory(server, args.idle).await),
        // Bare relays send no heartbeats.
        Metric::IdleCpu if matches!(subject, Subject::Bare(_)) => {}
        Metric::IdleCpu => {
            let cores = idle::cpu_use(server, args.idle, Duration::from_secs(10)).await;
            record(metric, 1e6 * cores / f64::from(args.idle));
        }
        Metric::Cpu(..) => unreachable!("measured together with Relayed"),
    }
}

fn rows(args: &Args, measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    for &kind in &args.adapters {
        let (adapter, _) = bare(kind);
        for ((subject, metric), ours) in measured {
            if *subject != Subject::Ours(adapter) {
                continue;
            }
            for (against, other) in [
                ("bare", Subject::Bare(adapter)),
                ("timers", Subject::Timers),
                ("TCP echo", Subject::Echo),
                ("reference", Subject::Reference),
            ] {
                let Some(theirs) = measured.get(&(other, *metric)) else { continue };
                let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
                let (name, unit) = describe(*metric);
                rows.push(Row {
                    metric: format!("{adapter}: {name}"),
                    unit,
                    ours: median(ours.clone()),
                    against,
                    theirs: median(theirs.clone()),
                    ratio: median(ratios),
                    target: target(*metric, against),
                });
            }
        }
    }
    rows
}

fn describe(metric: Metric) -> (String, &'static str) {
    match metric {
        Metric::Relayed(bytes, outstanding) => (format!("{bytes} bytes, {outstanding} outstanding"), "messages/s"),
        Metric::Cpu(bytes, outstanding) => (format!("CPU, {bytes} bytes, {outstanding} outstanding"), "us/message"),
        Metric::RoundTrip => ("p99 round trip at half load".to_owned(), "us"),
        Metric::Join => ("CPU of a join".to_owned(), "us"),
        Metric::IdleMemory => ("memory of an idle peer".to_owned(), "KiB"),
        Metric::IdleCpu => ("CPU of an idle peer".to_owned(), "us/s"),
    }
}

fn target(metric: Metric, against: &str) -> Bound {
    match (metric, against) {
        (Metric::Relayed(_, 1), "bare") => Bound::AtLeast(0.95),
        (Metric::Relayed(..), "bare") => Bound::AtLeast(0.80),
        (Metric::Relayed(_, 1), _) => Bound::AtLeast(1.6),
        (Metric::Relayed(..), _) => Bound::AtLeast(10.0),
        (Metric::Cpu(_, 1), "reference") => Bound::AtMost(1.0 / 2.0),
        (Metric::Cpu(..), "reference") => Bound::AtMost(1.0 / 12.0),
        (Metric::RoundTrip, "bare") => Bound::AtMost(1.1),
        (Metric::Join, "reference") => Bound::AtMost(1.0 / 3.0),
        (Metric::IdleCpu, "timers") => Bound::AtMost(0.5),
        _ => Bound::None,
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
