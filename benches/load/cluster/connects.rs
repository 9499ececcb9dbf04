//! The times until the answer to `connect`, at a moderate rate.

use std::time::Duration;

use hdrhistogram::Histogram;
use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::deployment::{Cpu, Deployment};
use super::echo::{MEMBER, echo, open_member};
use crate::client::{Socket, Target, frame};
use crate::process::CpuMeter;

/// Which `connect` is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Connect {
    /// The first one of a joiner to a group with one member. In a cluster of several nodes, the member is on another.
    First,
    /// A repeated one of a group's only member.
    Repeated,
}

pub(super) struct Figures {
    /// In nanoseconds.
    pub(super) times: Histogram<u64>,
    pub(super) cpu: Cpu,
}

/// The number of groups. Each has one `connect` at a time.
const GROUPS: usize = 50;

/// The `connect` messages per second of all groups together. A node decides at most 20 per second of one peer.
const RATE: f64 = 500.0;

pub(super) async fn measure(deployment: &Deployment, connect: Connect, seconds: f64) -> Figures {
    let mut members = Vec::new();
    for nth in 0..GROUPS {
        let key = format!("connect-{nth}-{}", fastrand::u64(..));
        members.push((open_member(deployment.target(nth), &key).await, key));
    }
    let (mut echoing, mut groups) = (JoinSet::new(), JoinSet::new());
    let start = Instant::now();
    let processes = deployment.processes();
    let cpu = CpuMeter::start(&processes);
    for (nth, (member, key)) in members.into_iter().enumerate() {
        let every = Duration::from_secs_f64(GROUPS as f64 / RATE);
        let first = start + every.mul_f64(nth as f64 / GROUPS as f64);
        let schedule = Schedule { first, every, end: start + Duration::from_secs_f64(seconds) };
        match connect {
            Connect::First => {
                echoing.spawn(echo(member));
                groups.spawn(connect_first(schedule, deployment.target(nth + 1).clone(), key));
            }
            Connect::Repeated => _ = groups.spawn(connect_again(schedule, member)),
        }
    }
    let mut times = Histogram::new(3).expect("three digits are supported");
    for time in groups.join_all().await.into_iter().flatten() {
        times.record(time.as_nanos() as u64).expect("the histogram grows");
    }
    let cpu = deployment.cpu(&cpu.per(times.len()));
    echoing.shutdown().await;
    Figures { times, cpu }
}

/// When a group sends `connect`.
struct Schedule {
    first: Instant,
    every: Duration,
    end: Instant,
}

/// Opens a joiner at each time of the schedule, and returns the times from its `connect` to the answer.
async fn connect_first(schedule: Schedule, target: Target, key: String) -> Vec<Duration> {
    let (mut times, mut due) = (Vec::new(), schedule.first);
    while due < schedule.end {
        sleep_until(due).await;
        let mut joiner = Socket::open(&target, &key).await;
        let start = Instant::now();
        assert!(!joiner.expect_connect(2, &[]).await, "the joiner is bound");
        times.push(start.elapsed());
        due = (due + schedule.every).max(Instant::now());
    }
    times
}

/// Sends `connect` at each time of the schedule, and returns the times to the answer.
async fn connect_again(schedule: Schedule, mut member: Socket) -> Vec<Duration> {
    let heartbeat = frame(&Message::HEARTBEAT);
    let (mut times, mut due) = (Vec::new(), schedule.first);
    while due < schedule.end {
        sleep_until(due).await;
        let start = Instant::now();
        assert!(member.expect_connect(MEMBER, &[]).await, "the member stays a member");
        times.push(start.elapsed());
        member.expect_send(&heartbeat).await;
        due = (due + schedule.every).max(Instant::now());
    }
    times
}
