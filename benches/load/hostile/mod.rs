//! How much hostile peers disturb well-behaved ones.
//!
//! The attackers also use the machine's cores. To separate the two effects, they first attack another server: a
//! disturbance during that attack comes from the machine, and any further disturbance from the server.

mod attacker;
mod mix;
mod named;
mod silent;
mod table;
mod watch;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use crate::attacks::mix::Attack;
use crate::attacks::{NamedAttack, Options};
use crate::server::{Kind, Settings};
use crate::well_behaved::Outcome;

pub(crate) use attacker::attack_with_mix;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Attacks within the limits to run instead of the mix, one after another
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["hostile", "only"])]
    attack: Vec<NamedAttack>,
    /// Number of concurrent attacking connections of the mix
    #[arg(long, default_value_t = 1000)]
    hostile: usize,
    /// Attacks of the mix to run [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Attack>,
    /// Number of well-behaved peers, in pairs [default: 1000, or 40 with --attack]
    #[arg(long)]
    well_behaved: Option<usize>,
    /// Messages per second that each pair sends there and back
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Duration of each phase, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Number of rounds, each with its own server
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Server to attack
    #[arg(long, default_value = "axum")]
    server: Kind,
    /// Time for a peer's first connect, in seconds [default: the hub's]
    #[arg(long)]
    first_connect_timeout: Option<u64>,
    /// Time for which a message may be queued for a peer, in seconds [default: the hub's]
    #[arg(long)]
    outbox_timeout: Option<u64>,
    /// Messages that a peer may send per second [default: the hub's]
    #[arg(long)]
    messages_per_second: Option<u32>,
    #[command(flatten, next_help_heading = "Options of --attack")]
    options: Options,
}

/// Time after an attack until its connections are closed.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// Prints a table. Fails if a well-behaved peer was closed or lost a message, or if an attack exceeded its bound.
pub(crate) async fn run(args: &Args) -> ExitCode {
    let passed = if args.attack.is_empty() { mix::run(args).await } else { named::run(args).await };
    println!("{}", if passed { "PASS" } else { "FAIL" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Args {
    fn settings(&self) -> Settings {
        Settings {
            first_connect_timeout: self.first_connect_timeout,
            outbox_timeout: self.outbox_timeout,
            messages_per_second: self.messages_per_second,
            stats: true,
            ..Settings::default()
        }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Describes the outcome of the well-behaved peers.
pub(crate) fn describe(outcome: &Outcome) -> String {
    let Outcome { sent, lost, ends } = outcome;
    let closed = match &**ends {
        [] => "no well-behaved peer was closed".to_owned(),
        [first, ..] => format!("{} well-behaved peers were closed (first: {first})", ends.len()),
    };
    format!("{closed}, {lost} of {sent} messages lost")
}

/// Describes rejections and closes by cause.
pub(crate) fn describe_counts(stats: &BTreeMap<String, u64>) -> String {
    let [rejections, closes] = ["rejections.", "closes."].map(|prefix| {
        let counts = stats.iter().filter_map(|(name, count)| Some((name.strip_prefix(prefix)?, count)));
        let counts: Vec<_> = counts.map(|(cause, count)| format!("{cause} {count}")).collect();
        if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
    });
    format!("rejections: {rejections}; closes: {closes}")
}
