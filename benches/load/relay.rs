//! Messages to and fro between pairs of peers, one pair to a group.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::client::{Socket, Speaks, Target, frame};
use crate::micros;
use crate::process::Server;

/// How long the load runs before anything is counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// How many pairs of peers
    #[arg(long, default_value_t = 100)]
    pub(crate) pairs: usize,
    /// The payload of each message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(8..=60_000))]
    pub(crate) bytes: u16,
    /// How many messages are on their way between the two of a pair at any time
    #[arg(long, default_value_t = 1)]
    pub(crate) outstanding: usize,
    /// Sends so many messages a second in all, each at its time whether or not others came back, and measures how long
    /// each takes there and back from the time at which it was due
    #[arg(long, conflicts_with = "outstanding")]
    pub(crate) rate: Option<f64>,
    /// How long
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

/// What came of it.
pub(crate) struct Figures {
    /// Messages a second, both ways together.
    pub(crate) relayed: f64,
    /// How long the server kept a core busy for each, where that is known.
    pub(crate) busy: Option<Duration>,
    /// Nanoseconds there and back, of messages that were sent at their times.
    pub(crate) trips: Histogram<u64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} messages/s", self.relayed)?;
        if let Some(busy) = self.busy {
            write!(f, ", {:.2} us of server CPU each", micros(busy))?;
        }
        if !self.trips.is_empty() {
            for quantile in [0.5, 0.99, 0.999] {
                let trip = Duration::from_nanos(self.trips.value_at_quantile(quantile));
                write!(f, ", p{} {:.0} us", quantile * 100.0, micros(trip))?;
            }
        }
        Ok(())
    }
}

/// Runs a load. With a `server`, its CPU is measured.
pub(crate) async fn run(target: &Target, load: &Load, server: Option<&Server>) -> Figures {
    let mut opening = JoinSet::new();
    for pair in 0..load.pairs {
        let (target, bytes) = (target.clone(), usize::from(load.bytes));
        opening.spawn(async move { Pair::meet(&target, &format!("load-{pair}-{}", fastrand::u64(..)), bytes).await });
    }
    let pairs = opening.join_all().await;

    let counted = Arc::new(AtomicU64::new(0));
    let trips = Arc::new(Mutex::new(Histogram::new(3).expect("three digits")));
    let mut peers = JoinSet::new();
    let start = Instant::now() + Duration::from_millis(100);
    let end = start + WARM_UP + Duration::from_secs_f64(load.seconds);
    for (nth, Pair { member, joiner }) in pairs.into_iter().enumerate() {
        peers.spawn(member.bounce(0, counted.clone()));
        match load.rate {
            None => peers.spawn(joiner.bounce(load.outstanding, counted.clone())),
            Some(rate) => {
                let every = Duration::from_secs_f64(load.pairs as f64 / rate);
                let first = start + every.mul_f64(nth as f64 / load.pairs as f64);
                let schedule = Schedule { start, first, every, counts: start + WARM_UP..end };
                peers.spawn(joiner.keep_time(schedule, counted.clone(), trips.clone()))
            }
        };
    }

    sleep_until(start + WARM_UP).await;
    let (since, before, busy) = (Instant::now(), counted.load(Ordering::Relaxed), server.map(Server::busy));
    let mut progress = interval(Duration::from_secs(1));
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    progress.tick().await;
    let mut last = before;
    loop {
        tokio::select! {
            () = sleep_until(end) => break,
            _ = progress.tick() => {
                let now = counted.load(Ordering::Relaxed);
                eprint!("\r{:>9} messages/s ", now - last);
                last = now;
            }
        }
    }
    let messages = counted.load(Ordering::Relaxed) - before;
    let elapsed = since.elapsed();
    let busy = server.zip(busy).map(|(server, before)| (server.busy() - before).div_f64(messages.max(1) as f64));

    // What is still on its way when the time is up counts with the time that it took, so it is waited for.
    if load.rate.is_some() {
        sleep(Duration::from_secs(1)).await;
    }
    drop(peers);
    let trips = trips.lock().expect("nothing panics under this lock").clone();
    Figures { relayed: messages as f64 / elapsed.as_secs_f64(), busy, trips }
}

/// Two peers that have met.
pub(crate) struct Pair {
    pub(crate) member: Peer,
    pub(crate) joiner: Peer,
}

impl Pair {
    pub(crate) async fn meet(target: &Target, key: &str, bytes: usize) -> Self {
        let mut member = Socket::open(target, key).await;
        if target.speaks == Speaks::Sigver {
            assert!(member.ask(1, &[]).await, "the first one is admitted");
        }
        let mut joiner = Socket::open(target, key).await;
        if target.speaks == Speaks::Sigver {
            assert!(!joiner.ask(2, &[]).await, "the second one is bound");
        }
        let payload = Bytes::from(vec![b'x'; bytes]);
        let to_member = frame(&Message::content(0, payload.clone()).encode());
        joiner.write(&to_member).await;
        let Ok(Message::Content { sender: link, .. }) = Message::decode(member.next().await) else {
            panic!("the member gets what the joiner sends");
        };
        let to_joiner = frame(&Message::content(link, payload).encode());
        member.write(&to_joiner).await;
        joiner.next().await;
        Self {
            member: Peer { socket: member, frame: to_joiner, bytes },
            joiner: Peer { socket: joiner, frame: to_member, bytes },
        }
    }
}

/// One of the two.
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    /// A message to the other one, ready to be sent.
    pub(crate) frame: Vec<u8>,
    /// The length of its payload.
    pub(crate) bytes: usize,
}

impl Peer {
    /// Sends so many messages, and one more for each that comes.
    async fn bounce(mut self, first: usize, counted: Arc<AtomicU64>) {
        let mut out = self.frame.repeat(first);
        loop {
            self.socket.write(&out).await;
            out.clear();
            let mut came = 0;
            let mut next = Some(self.socket.next().await);
            while let Some(message) = next {
                if message.len() < self.bytes {
                    out.extend(frame(&Message::HEARTBEAT));
                } else {
                    came += 1;
                    out.extend(&self.frame);
                    let end = out.len();
                    out[end - STAMP..].copy_from_slice(&message[message.len() - STAMP..]);
                }
                next = self.socket.buffered();
            }
            counted.fetch_add(came, Ordering::Relaxed);
        }
    }

    /// Sends messages at their times, and notes how long each took there and back from the time at which it was due.
    async fn keep_time(mut self, schedule: Schedule, counted: Arc<AtomicU64>, trips: Arc<Mutex<Histogram<u64>>>) {
        let Schedule { start, first, every, counts } = schedule;
        let mut due = first;
        let mut out = Vec::new();
        loop {
            tokio::select! {
                () = sleep_until(due) => {
                    out.clear();
                    // All that are due, if the timer or this machine is late.
                    while due <= Instant::now() {
                        out.extend(&self.frame);
                        let end = out.len();
                        out[end - STAMP..].copy_from_slice(&(due - start).as_nanos().to_be_bytes()[STAMP..]);
                        due += every;
                    }
                    self.socket.write(&out).await;
                }
                message = self.socket.next() => {
                    let now = Instant::now();
                    let mut trips = trips.lock().expect("nothing panics under this lock");
                    let mut next = Some(message);
                    while let Some(message) = next {
                        if message.len() >= self.bytes {
                            let stamp = message[message.len() - STAMP..].try_into().expect("eight bytes");
                            let was_due = start + Duration::from_nanos(u64::from_be_bytes(stamp));
                            if counts.contains(&was_due) {
                                trips.record((now - was_due).as_nanos() as u64).expect("it grows");
                            }
                            counted.fetch_add(1, Ordering::Relaxed);
                        }
                        next = self.socket.buffered();
                    }
                }
            }
        }
    }
}

/// The last bytes of a payload: when it was due, in nanoseconds.
pub(crate) const STAMP: usize = 8;

/// When to send.
struct Schedule {
    /// What stamps count from.
    start: Instant,
    first: Instant,
    every: Duration,
    /// When what is due is measured.
    counts: Range<Instant>,
}
