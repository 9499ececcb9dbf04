//! Attacks within the limits, each against another server first and then against the server of the well-behaved peers.

use std::time::Duration;

use tokio::time::sleep;

use super::attacker::Attacker;
use super::table::{Latencies, Row, print};
use super::watch::{ServerFigures, watch};
use super::{Args, SETTLE_TIME, describe, describe_counts, silent};
use crate::attacks::NamedAttack;
use crate::process::Server;
use crate::well_behaved::Pairs;

/// Number of well-behaved peers: few, so that the server is idle without the attack.
const WELL_BEHAVED: usize = 40;

/// Prints a table. Returns whether each attack stayed within its bound.
pub(super) async fn run(args: &Args) -> bool {
    let mut rows = Vec::new();
    for attack in NamedAttack::expand(&args.attack) {
        for _ in 0..args.rounds {
            rows.push(match attack {
                NamedAttack::SilentConnections => silent::measure(args).await,
                _ => measure(args, attack).await,
            });
        }
    }
    print(&rows);
    rows.iter().all(|row| row.failures().is_empty())
}

async fn measure(args: &Args, attack: NamedAttack) -> Row {
    let settings = args.settings();
    let server = Server::start(args.server, &settings).await;
    let elsewhere = Server::start(args.server, &settings).await;
    let pairs = Pairs::start(&server.target, args.well_behaved.unwrap_or(WELL_BEHAVED) / 2, args.rate).await;
    sleep(Duration::from_secs(1)).await;

    let mut phases = Vec::new();
    for attacked in [&elsewhere, &server] {
        let resident_before = server.resident() / 1024.0;
        let attacker = Attacker::start(attacked, attack, &args.options, args.time()).await;
        pairs.begin_phase();
        let figures = watch(&server, args.time()).await;
        // An unmeasured phase, until the attackers' connections are closed.
        pairs.begin_phase();
        phases.push((resident_before, figures, attacker.report().await));
        sleep(SETTLE_TIME).await;
    }
    let (resident_before, ServerFigures { peak, peers, .. }, report) = phases.pop().expect("there are two phases");
    let [control, attacked] = [0, 2].map(|phase| Latencies::from(&pairs.round_trips(phase)));
    let counts = describe_counts(&server.stats());
    let outcome = pairs.stop().await;
    println!("{}: {}", attack.name(), describe(&outcome));
    println!("  {peers} peers at most; {counts}");
    println!("  attackers that the server ended: {}", report.attackers);
    if report.flooded.started > 0 {
        println!("  flooded members that the server ended: {}", report.flooded);
    }
    Row {
        attack,
        attackers: attack.attackers(&args.options),
        control,
        attacked,
        resident_before,
        peak,
        closed: outcome.ends.len() + report.flooded.ended(),
        lost: outcome.lost,
        report,
    }
}
