//! Peers that mean well: pairs that relay at fixed times and notice what a server does to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use sigver::protocol::Message;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Heard, Over, Target, frame};
use crate::relay::{Pair, Peer, STAMP};

const PAYLOAD: usize = 200;
/// How long a message may take before it is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many pairs meet at a time.
const AT_A_TIME: usize = 50;

/// Pairs that talk until they are stopped.
pub(crate) struct Pairs {
    joiners: JoinSet<Talk>,
    members: JoinSet<Over>,
    phases: Arc<Mutex<Vec<Phase>>>,
    stopping: watch::Sender<bool>,
}

/// What is due from one time to the next.
struct Phase {
    since: Instant,
    trips: Histogram<u64>,
}

/// What became of a joiner.
#[derive(Default)]
struct Talk {
    sent: u64,
    came_back: u64,
    over: Option<Over>,
}

/// What became of all.
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// How the server ended those that it ended.
    pub(crate) over: Vec<Over>,
}

impl Pairs {
    /// Lets so many pairs meet, one to a group, and send so many messages a second each.
    pub(crate) async fn start(target: &Target, pairs: usize, rate: f64) -> Self {
        let mut met = Vec::new();
        while met.len() < pairs {
            let mut meeting = JoinSet::new();
            for _ in met.len()..pairs.min(met.len() + AT_A_TIME) {
                let target = target.clone();
                meeting
                    .spawn(async move { Pair::meet(&target, &format!("good-{}", fastrand::u64(..)), PAYLOAD).await });
            }
            met.extend(meeting.join_all().await);
        }
        let (stopping, stop) = watch::channel(false);
        let phases = Arc::default();
        let (mut joiners, mut members) = (JoinSet::new(), JoinSet::new());
        let (start, every) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        for (nth, Pair { member, joiner }) in met.into_iter().enumerate() {
            members.spawn(echo(member));
            let due = start + every.mul_f64(nth as f64 / pairs as f64);
            joiners.spawn(talk(joiner, start, due, every, Arc::clone(&phases), stop.clone()));
        }
        Self { joiners, members, phases, stopping }
    }

    /// What is due from now on is measured by itself.
    pub(crate) fn begin_phase(&self) {
        let trips = Histogram::new(3).expect("three digits");
        let mut phases = self.phases.lock().expect("nothing panics under this lock");
        phases.push(Phase { since: Instant::now(), trips });
    }

    /// Nanoseconds there and back, of what was due in a phase and has come.
    pub(crate) fn trips(&self, phase: usize) -> Histogram<u64> {
        self.phases.lock().expect("nothing panics under this lock")[phase].trips.clone()
    }

    /// Lets them fall silent, and counts what never came back.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.stopping.send_replace(true);
        let mut outcome = Outcome { sent: 0, lost: 0, over: Vec::new() };
        for talk in self.joiners.join_all().await {
            outcome.sent += talk.sent;
            outcome.lost += talk.sent - talk.came_back;
            outcome.over.extend(talk.over);
        }
        while let Some(over) = self.members.try_join_next() {
            outcome.over.push(over.expect("it does not panic"));
        }
        outcome
    }
}

/// A member: sends back what comes.
async fn echo(mut peer: Peer) -> Over {
    loop {
        let sent = match peer.socket.hear().await {
            Heard::Message(message) if message.len() < peer.bytes => {
                peer.socket.send(&frame(&Message::HEARTBEAT)).await
            }
            Heard::Message(message) => {
                let end = peer.frame.len();
                peer.frame[end - STAMP..].copy_from_slice(&message[message.len() - STAMP..]);
                peer.socket.send(&peer.frame).await
            }
            Heard::Over(over) => Err(over),
        };
        if let Err(over) = sent {
            return over;
        }
    }
}

/// A joiner: sends at its times whether or not anything comes back, and notes how long it took from when it was due.
async fn talk(
    mut peer: Peer,
    start: Instant,
    mut due: Instant,
    every: Duration,
    phases: Arc<Mutex<Vec<Phase>>>,
    mut stop: watch::Receiver<bool>,
) -> Talk {
    let mut talk = Talk::default();
    let mut last_due = None;
    let mut out = Vec::new();
    while talk.over.is_none() {
        tokio::select! {
            () = sleep_until(due) => {
                out.clear();
                while due <= Instant::now() {
                    out.extend(&peer.frame);
                    let end = out.len();
                    out[end - STAMP..].copy_from_slice(&((due - start).as_nanos() as u64).to_be_bytes());
                    due += every;
                    talk.sent += 1;
                }
                talk.over = peer.socket.send(&out).await.err();
            }
            heard = peer.socket.hear() => talk.hear(heard, &mut peer, start, &mut last_due, &phases).await,
            _ = stop.changed() => break,
        }
    }
    let rest = async {
        while talk.over.is_none() && talk.came_back < talk.sent {
            let heard = peer.socket.hear().await;
            talk.hear(heard, &mut peer, start, &mut last_due, &phases).await;
        }
    };
    // What is missing then is lost, and counted as that.
    let _: Result<(), _> = timeout(PATIENCE, rest).await;
    talk
}

impl Talk {
    async fn hear(
        &mut self,
        heard: Heard,
        peer: &mut Peer,
        start: Instant,
        last_due: &mut Option<Instant>,
        phases: &Mutex<Vec<Phase>>,
    ) {
        match heard {
            Heard::Message(message) if message.len() < peer.bytes => {
                self.over = peer.socket.send(&frame(&Message::HEARTBEAT)).await.err();
            }
            Heard::Message(message) => {
                let now = Instant::now();
                let stamp = message[message.len() - STAMP..].try_into().expect("eight bytes");
                let due = start + Duration::from_nanos(u64::from_be_bytes(stamp));
                assert!(last_due.replace(due) < Some(due), "messages came twice or in another order");
                self.came_back += 1;
                let mut phases = phases.lock().expect("nothing panics under this lock");
                if let Some(phase) = phases.iter_mut().rev().find(|phase| phase.since <= due) {
                    phase.trips.record((now - due).as_nanos() as u64).expect("it grows");
                }
            }
            Heard::Over(over) => self.over = Some(over),
        }
    }
}
