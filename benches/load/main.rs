//! What a signaling server costs: a load generator for any server of the protocol, and what to compare it with.
//!
//! ```text
//! cargo bench --features full --bench load -- compare --reference tests/reference/node_modules/sigver/dist/server.js
//! cargo bench --features full --bench load -- relay ws://127.0.0.1:8000/signal --outstanding 16
//! cargo bench --features full --bench load -- idle
//! cargo bench --features full --bench load -- hostile
//! cargo bench --features full --bench load -- soak --minutes 10
//! ```
//!
//! Server and load run in processes of their own. Figures of the server are read from Linux's `/proc`.

#![allow(clippy::print_stdout, reason = "it prints tables")]
#![allow(clippy::print_stderr, reason = "it says how far it is")]

mod attack;
mod bare;
mod client;
mod compare;
mod cores;
mod good;
mod hostile;
mod idle;
mod joins;
mod process;
mod relay;
mod server;
mod soak;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use client::Target;
use relay::Load;
use server::{Kind, Settings};

#[derive(Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// cargo adds it
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Sends messages to and fro between pairs of peers, and counts them
    Relay {
        /// Where signaling is mounted: ws://HOST:PORT/PATH
        url: String,
        #[command(flatten)]
        load: Load,
    },
    /// Measures this crate beside bare relays and the reference server, and prints ratios
    Compare(compare::Args),
    /// Measures the resident memory of idle peers; more than 8 KiB for each is a failure
    Idle {
        /// How many
        #[arg(long, default_value_t = 5000)]
        peers: u32,
        /// The read buffer of each socket, in bytes
        #[arg(long)]
        read_buffer: Option<usize>,
    },
    /// Measures the CPU of idle peers' heartbeats beside that of a timer for each socket
    Beats {
        /// How many
        #[arg(long, default_value_t = 9000)]
        peers: u32,
    },
    /// Measures how much more one hub does on two cores than on one, without a network
    Cores {
        /// How many groups
        #[arg(long, default_value_t = 1000)]
        groups: usize,
    },
    /// Measures what good peers notice of hostile ones
    Hostile(hostile::Args),
    /// Lets good peers and hostile ones at a server for long, and says whether it bore it
    Soak(soak::Args),
    /// Attacks a server, and prints how it ended each attack
    Attack {
        /// Where signaling is mounted: ws://HOST:PORT/PATH
        url: String,
        #[command(flatten)]
        force: attack::Force,
    },
    /// Serves, and prints its address
    Serve {
        /// What
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
            let figures = relay::run(&target, &load, None).await;
            println!("{figures}");
        }
        Command::Compare(args) => compare::run(&args).await,
        Command::Idle { peers, read_buffer } => return idle::run(peers, read_buffer).await,
        Command::Beats { peers } => idle::beats(peers).await,
        Command::Cores { groups } => cores::run(groups),
        Command::Hostile(args) => return hostile::run(&args).await,
        Command::Soak(args) => return soak::run(&args).await,
        Command::Attack { url, force } => println!("{}", attack::run(&Target::parse(&url), &force).await),
        Command::Serve { kind, settings } => match server::serve(kind, &settings).await {},
    }
    ExitCode::SUCCESS
}

/// What a time is in microseconds, for tables.
fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
