//! The mix of attacks, measured before, during and after it.

use std::time::Duration;
use tokio::time::sleep;

use super::watch::{ServerFigures, watch};
use super::{Args, SETTLE_TIME, attack_with_mix, describe, describe_counts};
use crate::process::Server;
use crate::well_behaved::{Outcome, Pairs};

/// Number of well-behaved peers.
const WELL_BEHAVED: usize = 1000;

/// The measured phases. "attack elsewhere" is an attack on another server.
const PHASES: [&str; 4] = ["before", "attack elsewhere", "attack", "after"];

/// The figures of one phase.
struct Figures {
    p50: f64,
    p99: f64,
    max: f64,
    server: ServerFigures,
}

/// A row of the table: its label and its figure.
type Row = (&'static str, fn(&Figures) -> f64);

const ROWS: [Row; 6] = [
    ("round-trip time p50, us", |figures| figures.p50),
    ("round-trip time p99, us", |figures| figures.p99),
    ("round-trip time max, us", |figures| figures.max),
    ("server memory at end, MiB", |figures| figures.server.resident),
    ("server memory peak, MiB", |figures| figures.server.peak),
    ("server CPU, cores", |figures| figures.server.cpu),
];

/// Prints a table. Returns whether no well-behaved peer was closed or lost a message.
pub(super) async fn run(args: &Args) -> bool {
    let mut rounds = Vec::new();
    let mut passed = true;
    for round in 1..=args.rounds {
        let (figures, outcome) = run_round(args).await;
        println!("round {round}: {}", describe(&outcome));
        passed &= outcome.lost == 0 && outcome.ends.is_empty();
        rounds.push(figures);
    }
    print!("{:<34}", "median (min to max)");
    PHASES.iter().for_each(|phase| print!(" {phase:>24}"));
    println!();
    for (label, figure) in ROWS {
        print!("{label:<34}");
        for phase in 0..PHASES.len() {
            let mut figures: Vec<f64> = rounds.iter().map(|round| figure(&round[phase])).collect();
            figures.sort_by(f64::total_cmp);
            let [min, median, max] = [0, figures.len() / 2, figures.len() - 1].map(|nth| figures[nth]);
            let digits = if max < 100.0 { 2 } else { 0 };
            print!(" {:>24}", format!("{median:.digits$} ({min:.digits$} to {max:.digits$})"));
        }
        println!();
    }
    passed
}

async fn run_round(args: &Args) -> ([Figures; PHASES.len()], Outcome) {
    let settings = args.settings();
    let server = Server::start(args.server, &settings).await;
    let elsewhere = Server::start(args.server, &settings).await;
    let pairs = Pairs::start(&server.target, args.well_behaved.unwrap_or(WELL_BEHAVED) / 2, args.rate).await;
    sleep(Duration::from_secs(1)).await;

    let time = args.time();
    let mut measured = Vec::new();
    for attacked in [None, Some(&elsewhere), Some(&server), None] {
        pairs.begin_phase();
        let attack = attacked.map(|server| attack_with_mix(server, args.hostile, &args.only, time));
        measured.push(watch(&server, time).await);
        // An unmeasured phase, until the attackers' connections are closed.
        pairs.begin_phase();
        if let Some(attack) = attack {
            println!("{}", attack.await);
            sleep(SETTLE_TIME).await;
        }
    }
    println!("{}", describe_counts(&server.stats()));
    let round_trips = [0, 2, 4, 6].map(|phase| pairs.round_trips(phase));
    let outcome = pairs.stop().await;

    let mut phases = measured.into_iter().zip(round_trips);
    let figures = PHASES.map(|_| {
        let (server, round_trips) = phases.next().expect("every phase was measured");
        let micros = |quantile| round_trips.value_at_quantile(quantile) as f64 / 1000.0;
        Figures { p50: micros(0.5), p99: micros(0.99), max: micros(1.0), server }
    });
    (figures, outcome)
}
