//! Load generator: measures what a signaling server costs, and compares it with other servers.
//!
//! ```text
//! cargo bench --all-features --bench load -- compare --reference tests/reference/node_modules/sigver/dist/server.js
//! cargo bench --all-features --bench load -- relay ws://127.0.0.1:8000/signal --outstanding 16
//! cargo bench --all-features --bench load -- cluster
//! cargo bench --all-features --bench load -- idle
//! cargo bench --all-features --bench load -- hostile
//! cargo bench --all-features --bench load -- hostile --attack all
//! cargo bench --all-features --bench load -- soak --minutes 10
//! ```
//!
//! Server and load run in separate processes. The figures of the server come from Linux's `/proc`.

#![allow(clippy::print_stdout, reason = "prints the results")]
#![allow(clippy::print_stderr, reason = "prints the progress")]

mod attacks;
mod baseline;
mod client;
mod cluster;
mod compare;
mod hostile;
mod idle;
mod joins;
mod process;
mod relay;
mod report;
mod scaling;
mod server;
mod soak;
mod sources;
mod well_behaved;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use attacks::{NamedAttack, mix};
use client::Target;
use relay::Load;
use server::{Kind, Settings};

#[derive(Parser)]
#[command(name = "load", about = "Measures what a signaling server costs, and compares it with other servers")]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Ignored; `cargo bench` adds it
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Relays messages between pairs of peers and measures the throughput
    Relay {
        /// URL of the signaling mount: ws://HOST:PORT/PATH
        url: String,
        #[command(flatten)]
        load: Load,
    },
    /// Compares sigver with bare relays and the reference server, and prints ratios
    Compare(compare::Args),
    /// Measures what a cluster over Redis costs compared with one hub; fails if a crash of a node closes other peers
    Cluster(cluster::Args),
    /// Measures the resident memory per idle peer; fails above 8 KiB
    Idle {
        /// Number of peers
        #[arg(long, default_value_t = 5000)]
        peers: u32,
        /// Read buffer of each connection, in bytes
        #[arg(long)]
        read_buffer: Option<usize>,
    },
    /// Measures the CPU of idle peers' heartbeats, compared with one timer per connection
    Heartbeats {
        /// Number of peers
        #[arg(long, default_value_t = 9000)]
        peers: u32,
    },
    /// Measures how the throughput of one hub scales from one core to two, without a network
    Scaling {
        /// Number of groups
        #[arg(long, default_value_t = 1000)]
        groups: usize,
    },
    /// Measures how much hostile peers disturb well-behaved ones
    Hostile(hostile::Args),
    /// Runs well-behaved and hostile peers against one server for a long time, and prints PASS or FAIL
    Soak(soak::Args),
    /// Attacks a server with a mix of attacks, and prints how it ended each attack
    Attack {
        /// URL of the signaling mount: ws://HOST:PORT/PATH
        url: String,
        #[command(flatten)]
        options: mix::Options,
    },
    /// Runs one attack within the limits of the hub; prints `ready` when it is in place, and a report as JSON at its end
    NamedAttack {
        /// URL of the signaling mount: ws://HOST:PORT/PATH
        url: String,
        /// Attack to run
        attack: NamedAttack,
        /// Duration in seconds
        #[arg(long, default_value_t = 20.0)]
        seconds: f64,
        #[command(flatten)]
        options: attacks::Options,
    },
    /// Runs a server, and prints its address
    Serve {
        /// Server to run
        kind: Kind,
        #[command(flatten)]
        settings: Settings,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match Args::parse().command {
        Command::Relay { url, load } => {
            let target = Target::parse(&url);
            let figures = relay::run([&target; 2], &load, &[]).await;
            println!("{figures}");
        }
        Command::Compare(args) => compare::run(&args).await,
        Command::Cluster(args) => return cluster::run(&args).await,
        Command::Idle { peers, read_buffer } => return idle::run(peers, read_buffer).await,
        Command::Heartbeats { peers } => idle::heartbeats(peers).await,
        Command::Scaling { groups } => scaling::run(groups),
        Command::Hostile(args) => return hostile::run(&args).await,
        Command::Soak(args) => return soak::run(&args).await,
        Command::Attack { url, options } => println!("{}", mix::run(&Target::parse(&url), &options).await),
        Command::NamedAttack { url, attack, seconds, options } => {
            attacks::run(attack, &Target::parse(&url), &options, Duration::from_secs_f64(seconds)).await;
        }
        Command::Serve { kind, settings } => match server::serve(kind, &settings).await {},
    }
    ExitCode::SUCCESS
}

/// Converts a duration to microseconds, the unit of the tables.
fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
