//! Good peers and hostile ones at one server for long.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, interval_at, sleep};

use crate::good::Pairs;
use crate::hostile::{attack, good, turned_away};
use crate::process::Server;
use crate::server::{Kind, Settings};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// How many connections attack at a time
    #[arg(long, default_value_t = 200)]
    hostile: usize,
    /// How many good peers, in pairs
    #[arg(long, default_value_t = 200)]
    good: usize,
    /// How many messages each pair sends there and back in a second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// How many seconds to a line
    #[arg(long, default_value_t = 30)]
    every: u64,
    /// Which server
    #[arg(long, default_value = "axum")]
    server: Kind,
}

/// What memory may grow by from the second quarter to the last.
const GROWTH: f64 = 1.1;
/// Until a server has seen that everybody is gone, and said so.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// Prints a line now and then, and what to think of it.
pub(crate) async fn run(args: &Args) -> ExitCode {
    let settings = Settings { stats: true, ..Settings::default() };
    let server = Server::start(args.server, &settings).await;
    let pairs = Pairs::start(&server.target, args.good / 2, args.rate).await;
    let attack = attack(&server, args.hostile, &[], Duration::from_secs_f64(args.minutes * 60.0));
    let every = Duration::from_secs(args.every);
    let (start, mut lines) = (Instant::now(), interval_at(Instant::now() + every, every));
    pairs.begin_phase();
    let mut residents = Vec::new();
    println!(
        "{:>6} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8}  turned away",
        "s", "peers", "groups", "links", "MiB", "p50 us", "p99 us"
    );
    let ends = tokio::spawn(attack);
    while !ends.is_finished() {
        lines.tick().await;
        let (stats, trips) = (server.stats(), pairs.trips(residents.len()));
        pairs.begin_phase();
        residents.push(server.resident() / 1024.0);
        let count = |name| stats.get(name).copied().unwrap_or_default();
        println!(
            "{:>6.0} {:>7} {:>7} {:>7} {:>8.1} {:>8.0} {:>8.0}  {}",
            start.elapsed().as_secs_f64(),
            count("peers"),
            count("groups"),
            count("links"),
            residents.last().expect("one was just pushed"),
            trips.value_at_quantile(0.5) as f64 / 1000.0,
            trips.value_at_quantile(0.99) as f64 / 1000.0,
            turned_away(&stats)
        );
    }
    println!("{}", ends.await.expect("it does not panic"));
    let outcome = pairs.stop().await;
    sleep(GONE_AFTER).await;
    let stats = server.stats();
    let left: u64 = ["peers", "groups", "links"].map(|name| stats[name]).iter().sum();

    let quarter = residents.len().div_ceil(4);
    let mean = |residents: &[f64]| residents.iter().sum::<f64>() / residents.len() as f64;
    let second = mean(&residents[quarter.min(residents.len() - 1)..(2 * quarter).clamp(1, residents.len())]);
    let last = mean(&residents[residents.len() - quarter..]);
    println!("{}", good(&outcome));
    println!("memory: {second:.1} MiB in the second quarter, {last:.1} in the last");
    println!("left when all were gone: {left} peers, groups and links, {:.1} MiB", server.resident() / 1024.0);
    let well = outcome.lost == 0 && outcome.over.is_empty() && left == 0 && last <= GROWTH * second;
    println!("{}", if well { "well" } else { "NOT well" });
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
