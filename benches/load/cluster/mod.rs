//! What a cluster costs: its answers, its relays, its engine and the crash of a node, compared with one hub.
//!
//! Each round measures all subjects in turn, and ratios are taken within a round. Server, engine and load run in
//! separate processes and share the machine.

mod connects;
mod crash;
mod deployment;
mod echo;
mod engine;
mod figures;
mod memberships;
mod streams;

use std::process::ExitCode;

use crate::relay::{self, Load};
use crate::report;
use connects::Connect;
use deployment::Deployment;
use engine::Engine;
use figures::{Figures, Metric, Subject};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Duration of each load of each subject in a round, in seconds
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// Messages in flight per pair.
const OUTSTANDING: [usize; 2] = [1, 16];

/// Round trips per second at a moderate rate. The hub relays twice as many messages.
const RATE: f64 = 2000.0;

/// Messages that a joiner and a member exchange while the joiner is bound.
const MESSAGES: [usize; 2] = [0, 20];

/// The time until the end of a link to a member of a dead node, at most, with the default settings.
const TOLD_WITHIN_SECONDS: f64 = 14.0;

/// The subjects of loads with a hub.
const HUBS: [Subject; 4] = [Subject::NoCluster, Subject::OneNode, Subject::SameNode, Subject::TwoNodes];

/// Prints a table. Fails if a crash closes a peer of another node, or if joiners learn of it too late.
pub(crate) async fn run(args: &Args) -> ExitCode {
    match engine::version().await {
        Ok(version) => println!("{version}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    let mut figures = Figures::default();
    let mut is_crash_survived = true;
    for round in 1..=args.rounds {
        let mut hubs = HUBS;
        // The order alternates, so that a trend of the machine does not favor a subject.
        if round % 2 == 0 {
            hubs.reverse();
        }
        for subject in hubs {
            // Where the joiner is matters to relays only.
            if subject != Subject::SameNode {
                measure_connects(args, subject, &mut figures).await;
                measure_memberships(args, subject, &mut figures).await;
            }
            if subject != Subject::OneNode {
                measure_relays(args, subject, &mut figures).await;
            }
            eprintln!("\rround {round} of {}: {subject}", args.rounds);
        }
        measure_streams(args, &mut figures).await;
        eprintln!("\rround {round} of {}: streams", args.rounds);
        is_crash_survived &= measure_crash(&mut figures).await;
        eprintln!("\rround {round} of {}: crash", args.rounds);
    }
    println!("{}", report::text(&figures.rows()));
    println!("{}", if is_crash_survived { "PASS" } else { "FAIL" });
    if is_crash_survived { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn start(subject: Subject) -> Deployment {
    match subject {
        Subject::NoCluster => Deployment::without_cluster().await,
        Subject::OneNode => Deployment::cluster(1).await,
        Subject::SameNode | Subject::TwoNodes => Deployment::cluster(3).await,
        Subject::Streams | Subject::Limit => unreachable!("{subject} has no hub"),
    }
}

async fn measure_connects(args: &Args, subject: Subject, figures: &mut Figures) {
    for connect in [Connect::First, Connect::Repeated] {
        let measured = connects::measure(&start(subject).await, connect, args.seconds).await;
        figures.record_times(subject, |percentile| Metric::Connect(connect, percentile), &measured.times);
        figures.record_cpu(subject, |part| Metric::ConnectCpu(connect, part), measured.cpu);
    }
}

async fn measure_memberships(args: &Args, subject: Subject, figures: &mut Figures) {
    for messages in MESSAGES {
        let measured = memberships::measure(&start(subject).await, messages, args.seconds).await;
        figures.record(subject, Metric::Memberships(messages), measured.per_second);
        figures.record_cpu(subject, |part| Metric::MembershipCpu(messages, part), measured.cpu);
    }
}

async fn measure_relays(args: &Args, subject: Subject, figures: &mut Figures) {
    let joiners = if subject == Subject::TwoNodes { 1 } else { 0 };
    for load in loads(args) {
        let deployment = start(subject).await;
        let ends = [deployment.target(0), deployment.target(joiners)];
        let measured = relay::run(ends, &load, &deployment.processes()).await;
        let cpu = deployment.cpu(&measured.cpu_times);
        if load.rate.is_some() {
            figures.record_times(subject, Metric::RoundTrip, &measured.round_trips);
            figures.record_cpu(subject, Metric::RoundTripCpu, cpu);
        } else {
            figures.record(subject, Metric::Relayed(load.outstanding), measured.relayed);
            figures.record_cpu(subject, |part| Metric::RelayCpu(load.outstanding, part), cpu);
        }
    }
}

async fn measure_streams(args: &Args, figures: &mut Figures) {
    for load in loads(args) {
        let measured = streams::run(&Engine::start(&[]).await, &load).await;
        let engine = measured.cpu_times.first().copied();
        if load.rate.is_some() {
            figures.record_times(Subject::Streams, Metric::RoundTrip, &measured.round_trips);
            figures.record_engine(Subject::Streams, Metric::RoundTripCpu, engine);
        } else {
            figures.record(Subject::Streams, Metric::Relayed(load.outstanding), measured.relayed);
            figures.record_engine(Subject::Streams, |part| Metric::RelayCpu(load.outstanding, part), engine);
        }
    }
}

/// Returns whether the peers of the other nodes noticed as little as they may.
async fn measure_crash(figures: &mut Figures) -> bool {
    let measured = crash::measure().await;
    let told = measured.told.map_or(f64::INFINITY, |time| time.as_secs_f64());
    figures.record(Subject::TwoNodes, Metric::CrashTold, told);
    figures.record(Subject::Limit, Metric::CrashTold, TOLD_WITHIN_SECONDS);
    figures.record(Subject::TwoNodes, Metric::CrashClosed, measured.closed as f64);
    figures.record(Subject::Limit, Metric::CrashClosed, measured.others as f64);
    measured.closed == 0 && told <= TOLD_WITHIN_SECONDS
}

/// Returns the loads of relays.
fn loads(args: &Args) -> impl Iterator<Item = Load> {
    let load = Load { pairs: 100, bytes: 200, outstanding: 1, rate: None, seconds: args.seconds };
    let fastest = OUTSTANDING.map(|outstanding| Load { outstanding, ..load.clone() });
    fastest.into_iter().chain([Load { rate: Some(RATE), ..load }])
}
