//! Well-behaved and hostile peers at one server for a long time.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, interval_at, sleep};

use crate::hostile::{attack_with_mix, describe, describe_counts};
use crate::process::Server;
use crate::server::{Kind, Settings};
use crate::well_behaved::Pairs;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Duration in minutes
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Number of concurrent attacking connections
    #[arg(long, default_value_t = 200)]
    hostile: usize,
    /// Number of well-behaved peers, in pairs
    #[arg(long, default_value_t = 200)]
    well_behaved: usize,
    /// Messages per second that each pair sends there and back
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Seconds between two lines of output
    #[arg(long, default_value_t = 30)]
    every: u64,
    /// Server to run
    #[arg(long, default_value = "axum")]
    server: Kind,
}

/// Highest accepted ratio of the memory in the last quarter to that in the second.
const MAX_GROWTH: f64 = 1.1;
/// Time after the load until the server has removed all peers and printed its counts.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// Prints a line at each interval, then PASS or FAIL.
pub(crate) async fn run(args: &Args) -> ExitCode {
    let settings = Settings { stats: true, ..Settings::default() };
    let server = Server::start(args.server, &settings).await;
    let pairs = Pairs::start(&server.target, args.well_behaved / 2, args.rate).await;
    let attack = attack_with_mix(&server, args.hostile, &[], Duration::from_secs_f64(args.minutes * 60.0));
    let every = Duration::from_secs(args.every);
    let (start, mut lines) = (Instant::now(), interval_at(Instant::now() + every, every));
    pairs.begin_phase();
    let mut resident = Vec::new();
    println!(
        "{:>6} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8}  rejections and closes",
        "s", "peers", "groups", "links", "MiB", "p50 us", "p99 us"
    );
    let attack = tokio::spawn(attack);
    while !attack.is_finished() {
        lines.tick().await;
        let (stats, round_trips) = (server.stats(), pairs.round_trips(resident.len()));
        pairs.begin_phase();
        resident.push(server.resident() / 1024.0);
        let count = |name| stats.get(name).copied().unwrap_or_default();
        println!(
            "{:>6.0} {:>7} {:>7} {:>7} {:>8.1} {:>8.0} {:>8.0}  {}",
            start.elapsed().as_secs_f64(),
            count("peers"),
            count("groups"),
            count("links"),
            resident.last().expect("a figure was just pushed"),
            round_trips.value_at_quantile(0.5) as f64 / 1000.0,
            round_trips.value_at_quantile(0.99) as f64 / 1000.0,
            describe_counts(&stats)
        );
    }
    println!("{}", attack.await.expect("the task does not panic"));
    let outcome = pairs.stop().await;
    sleep(SETTLE_TIME).await;
    let stats = server.stats();
    let remaining: u64 = ["peers", "groups", "links"].map(|name| stats[name]).iter().sum();

    let quarter = resident.len().div_ceil(4);
    let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
    let second = mean(&resident[quarter.min(resident.len() - 1)..(2 * quarter).clamp(1, resident.len())]);
    let last = mean(&resident[resident.len() - quarter..]);
    println!("{}", describe(&outcome));
    println!("memory: {second:.1} MiB in the second quarter, {last:.1} MiB in the last");
    println!("after the load: {remaining} peers, groups and links, {:.1} MiB", server.resident() / 1024.0);
    let passed = outcome.lost == 0 && outcome.ends.is_empty() && remaining == 0 && last <= MAX_GROWTH * second;
    println!("{}", if passed { "PASS" } else { "FAIL" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
