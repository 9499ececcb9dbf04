//! This crate beside bare relays and the reference server: all in turn, round after round, ratios within a round.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Speaks;
use crate::process::Server;
use crate::relay::{self, Load};
use crate::server::{Kind, Settings};
use crate::table::{self, Aim, Row};
use crate::{idle, joins, micros};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// npm sigver's `dist/server.js`; without it there is nothing of the reference in the table
    #[arg(long)]
    reference: Option<PathBuf>,
    /// How many rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each load of each server runs in a round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many idle peers
    #[arg(long, default_value_t = 5000)]
    idle: u32,
    /// How many joins
    #[arg(long, default_value_t = 8000)]
    joins: u32,
    /// Which adapters, with the bare relay of each
    #[arg(long, value_delimiter = ',', default_values = ["hyper", "axum", "warp"])]
    adapters: Vec<Kind>,
    /// Where to write `table.txt`, `table.csv` and `chart.svg`
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
}

/// Payload bytes and messages outstanding.
const LOADS: [(u16, usize); 4] = [(200, 1), (200, 16), (1000, 1), (1000, 16)];

/// What was measured of a server, and the figure of each round.
type Measured = BTreeMap<(Who, What), Vec<f64>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Ours(&'static str),
    Bare(&'static str),
    Beating,
    Echo,
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Relayed(u16, usize),
    Busy(u16, usize),
    Trip,
    Join,
    Idle,
    Beats,
}

/// An adapter's name, its server and the bare one to compare it with.
fn bare(kind: Kind) -> (&'static str, Kind) {
    match kind {
        Kind::Hyper => ("hyper", Kind::BareHyper),
        Kind::Axum => ("axum", Kind::BareAxum),
        Kind::Warp => ("warp", Kind::BareWarp),
        other => panic!("{other:?} is no adapter"),
    }
}

pub(crate) async fn run(args: &Args) {
    let mut measured = Measured::new();
    for round in 1..=args.rounds {
        for &kind in &args.adapters {
            let (name, bare) = bare(kind);
            // The two that are compared run right after each other, and take turns at being first.
            let mut both = [(Who::Ours(name), kind), (Who::Bare(name), bare)];
            if round % 2 == 0 {
                both.reverse();
            }
            for what in steps() {
                for (who, kind) in both {
                    let server = Server::start(kind, &Settings::default()).await;
                    measure(args, &server, who, what, &mut measured).await;
                }
                eprintln!("\rround {round} of {}: {name}, {what:?}", args.rounds);
            }
        }
        for (who, kind, what) in [(Who::Echo, Kind::Echo, What::Idle), (Who::Beating, Kind::BareBeating, What::Beats)] {
            measure(args, &Server::start(kind, &Settings::default()).await, who, what, &mut measured).await;
        }
        if let Some(script) = &args.reference {
            for what in steps() {
                measure(args, &Server::reference(script).await, Who::Reference, what, &mut measured).await;
                eprintln!("\rround {round} of {}: reference, {what:?}", args.rounds);
            }
        }
    }
    let rows = rows(args, &measured);
    let text = table::text(&rows);
    println!("{text}");
    std::fs::create_dir_all(&args.out).expect("the folder can be made");
    for (file, content) in [("table.txt", text), ("table.csv", table::csv(&rows)), ("chart.svg", table::svg(&rows))] {
        std::fs::write(args.out.join(file), content).expect("the file can be written");
    }
}

fn steps() -> impl Iterator<Item = What> {
    LOADS.into_iter().map(|(bytes, outstanding)| What::Relayed(bytes, outstanding)).chain([
        What::Trip,
        What::Join,
        What::Idle,
        What::Beats,
    ])
}

async fn measure(args: &Args, server: &Server, who: Who, what: What, measured: &mut Measured) {
    let mut note = |what, figure| measured.entry((who, what)).or_default().push(figure);
    let load = Load { pairs: 100, bytes: 200, outstanding: 1, rate: None, seconds: args.seconds };
    match what {
        What::Relayed(bytes, outstanding) => {
            let load = Load { bytes, outstanding, ..load };
            let figures = relay::run(&server.target, &load, Some(server)).await;
            note(what, figures.relayed);
            note(What::Busy(bytes, outstanding), figures.busy.map_or(f64::NAN, micros));
        }
        What::Trip => {
            // About half of what a bare relay takes with one message outstanding on two cores.
            let load = Load { rate: Some(30_000.0), ..load };
            let figures = relay::run(&server.target, &load, None).await;
            note(what, figures.trips.value_at_quantile(0.99) as f64 / 1000.0);
        }
        What::Join if server.target.speaks != Speaks::Sigver => {}
        What::Join => note(what, micros(joins::measure(server, args.joins).await)),
        What::Idle => note(what, idle::memory(server, args.idle).await),
        // A bare relay sends no heartbeats.
        What::Beats if matches!(who, Who::Bare(_)) => {}
        What::Beats => {
            let busy = idle::busy(server, args.idle, Duration::from_secs(10)).await;
            note(what, 1e6 * busy / f64::from(args.idle));
        }
        What::Busy(..) => unreachable!("it is measured with what is relayed"),
    }
}

fn rows(args: &Args, measured: &Measured) -> Vec<Row> {
    let mut rows = Vec::new();
    for &kind in &args.adapters {
        let (name, _) = bare(kind);
        for ((who, what), ours) in measured {
            if *who != Who::Ours(name) {
                continue;
            }
            for (against, other) in [
                ("bare", Who::Bare(name)),
                ("timers", Who::Beating),
                ("TCP echo", Who::Echo),
                ("reference", Who::Reference),
            ] {
                let Some(theirs) = measured.get(&(other, *what)) else { continue };
                let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
                let (words, unit) = words(*what);
                rows.push(Row {
                    what: format!("{name}: {words}"),
                    unit,
                    ours: median(ours.clone()),
                    against,
                    theirs: median(theirs.clone()),
                    ratio: median(ratios),
                    target: target(*what, against),
                });
            }
        }
    }
    rows
}

fn words(what: What) -> (String, &'static str) {
    match what {
        What::Relayed(bytes, outstanding) => (format!("{bytes} bytes, {outstanding} outstanding"), "messages/s"),
        What::Busy(bytes, outstanding) => (format!("CPU, {bytes} bytes, {outstanding} outstanding"), "us/message"),
        What::Trip => ("p99 round trip at half load".to_owned(), "us"),
        What::Join => ("CPU of a join".to_owned(), "us"),
        What::Idle => ("memory of an idle peer".to_owned(), "KiB"),
        What::Beats => ("CPU of an idle peer".to_owned(), "us/s"),
    }
}

fn target(what: What, against: &str) -> Aim {
    match (what, against) {
        (What::Relayed(_, 1), "bare") => Aim::AtLeast(0.95),
        (What::Relayed(..), "bare") => Aim::AtLeast(0.80),
        (What::Relayed(_, 1), _) => Aim::AtLeast(1.6),
        (What::Relayed(..), _) => Aim::AtLeast(10.0),
        (What::Busy(_, 1), "reference") => Aim::AtMost(1.0 / 2.0),
        (What::Busy(..), "reference") => Aim::AtMost(1.0 / 12.0),
        (What::Trip, "bare") => Aim::AtMost(1.1),
        (What::Join, "reference") => Aim::AtMost(1.0 / 3.0),
        (What::Beats, "timers") => Aim::AtMost(0.5),
        _ => Aim::None,
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
