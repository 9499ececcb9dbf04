//! What good peers notice of hostile ones: measured before, during and after an attack on their server. The attackers
//! need the machine's cores too, so before that they attack another server: what the good ones notice of that is the
//! machine's, and the rest is the server's.

use std::collections::BTreeMap;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use tokio::process::Command;
use tokio::time::{Instant, interval, sleep};

use crate::attack::Attack;
use crate::good::{Outcome, Pairs};
use crate::process::{Server, this_program};
use crate::server::{Kind, Settings};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many connections attack at a time
    #[arg(long, default_value_t = 1000)]
    hostile: usize,
    /// In which ways they attack, if not in all
    #[arg(long, value_delimiter = ',')]
    only: Vec<Attack>,
    /// How many good peers, in pairs
    #[arg(long, default_value_t = 1000)]
    good: usize,
    /// How many messages each pair sends there and back in a second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// For how long each of the four times is measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often, each time with a server of its own
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Which server
    #[arg(long, default_value = "axum")]
    server: Kind,
    /// How many seconds a peer has for its first connect, if not as many as by default
    #[arg(long)]
    first_connect_timeout: Option<u64>,
    /// How many seconds a socket may take nothing, if not as many as by default
    #[arg(long)]
    outbox_timeout: Option<u64>,
    /// How many messages a peer may send in a second, if not as many as by default
    #[arg(long)]
    messages_per_second: Option<u32>,
}

/// Until those who attacked are gone.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// When is measured; attacked is another server, or this one.
const TIMES: [&str; 4] = ["before", "attack elsewhere", "attack", "after"];

/// One of the four times.
struct Figures {
    p50: f64,
    p99: f64,
    longest: f64,
    /// Of the server, in MiB: at the end, and the most.
    resident: f64,
    peak: f64,
    /// Of the server, in cores.
    busy: f64,
}

/// What a row of the table is called, and where its figure is.
type Row = (&'static str, fn(&Figures) -> f64);

const ROWS: [Row; 6] = [
    ("p50 round trip, us", |figures| figures.p50),
    ("p99 round trip, us", |figures| figures.p99),
    ("longest round trip, us", |figures| figures.longest),
    ("server's memory at the end, MiB", |figures| figures.resident),
    ("server's memory at most, MiB", |figures| figures.peak),
    ("server's CPU, cores", |figures| figures.busy),
];

/// Prints a table. That a good peer was closed or lost a message is a failure.
pub(crate) async fn run(args: &Args) -> ExitCode {
    let mut rounds = Vec::new();
    let mut unharmed = true;
    for round in 1..=args.rounds {
        let (figures, outcome) = attacked(args).await;
        println!("round {round}: {}", good(&outcome));
        unharmed &= outcome.lost == 0 && outcome.over.is_empty();
        rounds.push(figures);
    }
    print!("{:<34}", "median (least to most)");
    TIMES.iter().for_each(|time| print!(" {time:>24}"));
    println!();
    for (name, figure) in ROWS {
        print!("{name:<34}");
        for time in 0..TIMES.len() {
            let mut figures: Vec<f64> = rounds.iter().map(|round| figure(&round[time])).collect();
            figures.sort_by(f64::total_cmp);
            let [least, median, most] = [0, figures.len() / 2, figures.len() - 1].map(|nth| figures[nth]);
            let digits = if most < 100.0 { 2 } else { 0 };
            print!(" {:>24}", format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"));
        }
        println!();
    }
    if unharmed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What became of the good ones, as text.
pub(crate) fn good(outcome: &Outcome) -> String {
    let Outcome { sent, lost, over } = outcome;
    match &**over {
        [] => format!("no good peer was closed, {lost} of {sent} messages lost"),
        over => format!("{} good peers were closed ({}), {lost} of {sent} messages lost", over.len(), over[0]),
    }
}

async fn attacked(args: &Args) -> ([Figures; TIMES.len()], Outcome) {
    let settings = Settings {
        first_connect_timeout: args.first_connect_timeout,
        outbox_timeout: args.outbox_timeout,
        messages_per_second: args.messages_per_second,
        stats: true,
        ..Settings::default()
    };
    let (server, elsewhere) =
        (Server::start(args.server, &settings).await, Server::start(args.server, &settings).await);
    let pairs = Pairs::start(&server.target, args.good / 2, args.rate).await;
    sleep(Duration::from_secs(1)).await;

    let time = Duration::from_secs(args.seconds);
    let mut times = Vec::new();
    for attack_on in [None, Some(&elsewhere), Some(&server), None] {
        pairs.begin_phase();
        let attack = attack_on.map(|server| attack(server, args.hostile, &args.only, time));
        times.push(watch(&server, time).await);
        // Not part of any of the times, until the attackers are gone.
        pairs.begin_phase();
        if let Some(attack) = attack {
            println!("{}", attack.await);
            sleep(SETTLED_AFTER).await;
        }
    }
    println!("turned away: {}", turned_away(&server.stats()));
    let trips = [0, 2, 4, 6].map(|phase| pairs.trips(phase));
    let outcome = pairs.stop().await;

    let mut watched = times.into_iter().zip(trips);
    let figures = TIMES.map(|_| {
        let ((resident, peak, busy), trips) = watched.next().expect("as many as times");
        let micros = |quantile| trips.value_at_quantile(quantile) as f64 / 1000.0;
        Figures { p50: micros(0.5), p99: micros(0.99), longest: micros(1.0), resident, peak, busy }
    });
    (figures, outcome)
}

/// Attacks from a process that yields to the others, as attackers bring machines of their own. Returns what it prints.
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
    command.args(
        only.iter().filter_map(ValueEnum::to_possible_value).map(|attack| format!("--only={}", attack.get_name())),
    );
    let process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    async {
        let output = process.wait_with_output().await.expect("it ends");
        assert!(output.status.success(), "the attack failed: {}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

/// The server's memory at the end of so long, its most, in MiB, and the cores that it kept busy.
async fn watch(server: &Server, time: Duration) -> (f64, f64, f64) {
    let (since, before) = (Instant::now(), server.busy());
    let mut looks = interval(Duration::from_millis(200));
    let mut peak: f64 = 0.0;
    while since.elapsed() < time {
        looks.tick().await;
        peak = peak.max(server.resident() / 1024.0);
    }
    let busy = (server.busy() - before).div_duration_f64(since.elapsed());
    (server.resident() / 1024.0, peak, busy)
}

/// How many each cause turned away, as text.
pub(crate) fn turned_away(stats: &BTreeMap<String, u64>) -> String {
    let guards = stats.iter().filter(|(name, _)| !["peers", "groups", "links"].contains(&name.as_str()));
    guards.map(|(cause, count)| format!("{cause} {count}")).collect::<Vec<_>>().join(", ")
}
