//! Well-behaved peers: pairs that relay at a fixed rate, and measure lost messages, closes and round-trip times.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use sigver::protocol::Message;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{End, Target, frame};
use crate::relay::{Pair, Peer, STAMP};

const PAYLOAD: usize = 200;
/// A message that does not return within this time is lost.
const LOSS_TIMEOUT: Duration = Duration::from_secs(10);
/// Pairs that open concurrently.
const CONCURRENCY: usize = 50;

/// Pairs that relay until they are stopped.
pub(crate) struct Pairs {
    joiners: JoinSet<JoinerResult>,
    members: JoinSet<End>,
    phases: Phases,
    stopping: watch::Sender<bool>,
}

type Phases = Arc<Mutex<Vec<Phase>>>;

/// A part of the run. It contains the messages that are due between its start and the next one.
struct Phase {
    start: Instant,
    round_trips: Histogram<u64>,
}

#[derive(Default)]
struct JoinerResult {
    sent: u64,
    returned: u64,
    end: Option<End>,
}

/// The result of all pairs.
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// How the server ended connections of well-behaved peers.
    pub(crate) ends: Vec<End>,
}

impl Pairs {
    /// Opens pairs, one per group. Each sends `rate` messages per second.
    pub(crate) async fn start(target: &Target, count: usize, rate: f64) -> Self {
        let mut pairs = Vec::new();
        while pairs.len() < count {
            let mut opening = JoinSet::new();
            for _ in pairs.len()..count.min(pairs.len() + CONCURRENCY) {
                let target = target.clone();
                let key = format!("well-behaved-{}", fastrand::u64(..));
                opening.spawn(async move { Pair::open([&target; 2], &key, PAYLOAD).await });
            }
            pairs.extend(opening.join_all().await);
        }
        let (stopping, stop) = watch::channel(false);
        let phases = Arc::default();
        let (mut joiners, mut members) = (JoinSet::new(), JoinSet::new());
        let (start, every) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        for (nth, Pair { member, joiner }) in pairs.into_iter().enumerate() {
            members.spawn(echo(member));
            let schedule = Schedule { start, due: start + every.mul_f64(nth as f64 / count as f64), every };
            joiners.spawn(Joiner::new(joiner, schedule, Arc::clone(&phases)).run(stop.clone()));
        }
        Self { joiners, members, phases, stopping }
    }

    /// Starts a new phase.
    pub(crate) fn begin_phase(&self) {
        let round_trips = Histogram::new(3).expect("three digits are supported");
        let mut phases = self.phases.lock().expect("nothing panics under this lock");
        phases.push(Phase { start: Instant::now(), round_trips });
    }

    /// Returns the round-trip times of a phase, in nanoseconds, of messages that have returned.
    pub(crate) fn round_trips(&self, phase: usize) -> Histogram<u64> {
        self.phases.lock().expect("nothing panics under this lock")[phase].round_trips.clone()
    }

    /// Stops sending, and waits for messages in flight.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.stopping.send_replace(true);
        let mut outcome = Outcome { sent: 0, lost: 0, ends: Vec::new() };
        for joiner in self.joiners.join_all().await {
            outcome.sent += joiner.sent;
            outcome.lost += joiner.sent - joiner.returned;
            outcome.ends.extend(joiner.end);
        }
        while let Some(end) = self.members.try_join_next() {
            outcome.ends.push(end.expect("a member does not panic"));
        }
        outcome
    }
}

/// Runs a member, which returns each message.
async fn echo(mut peer: Peer) -> End {
    loop {
        let sent = match peer.socket.recv().await {
            Ok(message) if message.len() < peer.bytes => peer.socket.send(&frame(&Message::HEARTBEAT)).await,
            Ok(message) => {
                let end = peer.frame.len();
                peer.frame[end - STAMP..].copy_from_slice(&message[message.len() - STAMP..]);
                peer.socket.send(&peer.frame).await
            }
            Err(end) => Err(end),
        };
        if let Err(end) = sent {
            return end;
        }
    }
}

/// When a joiner sends.
struct Schedule {
    /// Stamps count from this time.
    start: Instant,
    due: Instant,
    every: Duration,
}

/// A joiner: sends on a schedule, whether or not messages return, and measures round-trip times from the time at which
/// each message was due.
struct Joiner {
    peer: Peer,
    schedule: Schedule,
    last_returned: Option<Instant>,
    phases: Phases,
    result: JoinerResult,
}

impl Joiner {
    fn new(peer: Peer, schedule: Schedule, phases: Phases) -> Self {
        Self { peer, schedule, last_returned: None, phases, result: JoinerResult::default() }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) -> JoinerResult {
        while self.result.end.is_none() {
            tokio::select! {
                () = sleep_until(self.schedule.due) => self.send_due().await,
                received = self.peer.socket.recv() => self.handle(received).await,
                _ = stop.changed() => break,
            }
        }
        let wait_for_rest = async {
            while self.result.end.is_none() && self.result.returned < self.result.sent {
                let received = self.peer.socket.recv().await;
                self.handle(received).await;
            }
        };
        // Messages that are missing after the timeout count as lost.
        let _: Result<(), _> = timeout(LOSS_TIMEOUT, wait_for_rest).await;
        self.result
    }

    async fn send_due(&mut self) {
        let Schedule { start, due, every } = &mut self.schedule;
        let mut out = Vec::new();
        // More than one is due if the timer is late.
        while *due <= Instant::now() {
            out.extend(&self.peer.frame);
            let end = out.len();
            out[end - STAMP..].copy_from_slice(&((*due - *start).as_nanos() as u64).to_be_bytes());
            *due += *every;
            self.result.sent += 1;
        }
        self.result.end = self.peer.socket.send(&out).await.err();
    }

    async fn handle(&mut self, received: Result<Bytes, End>) {
        match received {
            Ok(message) if message.len() < self.peer.bytes => {
                self.result.end = self.peer.socket.send(&frame(&Message::HEARTBEAT)).await.err();
            }
            Ok(message) => {
                let now = Instant::now();
                let stamp = message[message.len() - STAMP..].try_into().expect("the stamp has 8 bytes");
                let due = self.schedule.start + Duration::from_nanos(u64::from_be_bytes(stamp));
                let last = self.last_returned.replace(due);
                assert!(last < Some(due), "a message returned twice or out of order");
                self.result.returned += 1;
                let mut phases = self.phases.lock().expect("nothing panics under this lock");
                if let Some(phase) = phases.iter_mut().rev().find(|phase| phase.start <= due) {
                    phase.round_trips.record((now - due).as_nanos() as u64).expect("the histogram grows");
                }
            }
            Err(end) => self.result.end = Some(end),
        }
    }
}
