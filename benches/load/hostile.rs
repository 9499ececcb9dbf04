//! How much hostile peers disturb well-behaved ones, measured before, during and after an attack on their server.
//!
//! The attackers also use the machine's cores. To separate the two effects, they first attack another server: a
//! disturbance during that attack comes from the machine, and any further disturbance from the server.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, interval, sleep};

use crate::attack::Attack;
use crate::process::{Server, this_program};
use crate::server::{Kind, Settings};
use crate::well_behaved::{Outcome, Pairs};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of concurrent attacking connections
    #[arg(long, default_value_t = 1000)]
    hostile: usize,
    /// Attacks to run [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Attack>,
    /// Number of well-behaved peers, in pairs
    #[arg(long, default_value_t = 1000)]
    well_behaved: usize,
    /// Messages per second that each pair sends there and back
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Duration of each of the four phases, in seconds
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
    /// Time without write progress while messages are queued, in seconds [default: the hub's]
    #[arg(long)]
    outbox_timeout: Option<u64>,
    /// Messages that a peer may send per second [default: the hub's]
    #[arg(long)]
    messages_per_second: Option<u32>,
}

/// Time after an attack until its connections are closed.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// The measured phases. "attack elsewhere" is an attack on another server.
const PHASES: [&str; 4] = ["before", "attack elsewhere", "attack", "after"];

/// The figures of one phase.
struct Figures {
    p50: f64,
    p99: f64,
    max: f64,
    server: ServerFigures,
}

struct ServerFigures {
    /// Resident memory at the end of the phase, in MiB.
    resident: f64,
    /// Highest resident memory, in MiB.
    peak: f64,
    /// CPU use, in cores.
    cpu: f64,
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

/// Prints a table. Fails if a well-behaved peer was closed or lost a message.
pub(crate) async fn run(args: &Args) -> ExitCode {
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
    println!("{}", if passed { "PASS" } else { "FAIL" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

async fn run_round(args: &Args) -> ([Figures; PHASES.len()], Outcome) {
    let settings = Settings {
        first_connect_timeout: args.first_connect_timeout,
        outbox_timeout: args.outbox_timeout,
        messages_per_second: args.messages_per_second,
        stats: true,
        ..Settings::default()
    };
    let server = Server::start(args.server, &settings).await;
    let elsewhere = Server::start(args.server, &settings).await;
    let pairs = Pairs::start(&server.target, args.well_behaved / 2, args.rate).await;
    sleep(Duration::from_secs(1)).await;

    let time = Duration::from_secs(args.seconds);
    let mut measured = Vec::new();
    for attacked in [None, Some(&elsewhere), Some(&server), None] {
        pairs.begin_phase();
        let attack = attacked.map(|server| attack(server, args.hostile, &args.only, time));
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

/// Starts an attack, and returns a future of its output.
///
/// The attackers run in a process with low priority, because real attackers use other machines.
pub(crate) fn attack(
    server: &Server,
    count: usize,
    only: &[Attack],
    time: Duration,
) -> impl Future<Output = String> + use<> {
    let target = &server.target;
    let mut command = Command::new("nice");
    command.arg(this_program()).arg("attack").arg(format!("ws://{}{}", target.address, target.mount));
    command.args(["--count", &count.to_string(), "--seconds", &time.as_secs_f64().to_string()]);
    command.args(only.iter().map(|attack| format!("--only={}", attack.name())));
    let process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the process starts");
    async {
        let output = process.wait_with_output().await.expect("the process ends");
        assert!(output.status.success(), "the attack failed: {}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

/// Measures the server for this time.
async fn watch(server: &Server, time: Duration) -> ServerFigures {
    let (since, before) = (Instant::now(), server.cpu_time());
    let mut samples = interval(Duration::from_millis(200));
    let mut peak: f64 = 0.0;
    while since.elapsed() < time {
        samples.tick().await;
        peak = peak.max(server.resident() / 1024.0);
    }
    let cpu = (server.cpu_time() - before).div_duration_f64(since.elapsed());
    ServerFigures { resident: server.resident() / 1024.0, peak, cpu }
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
