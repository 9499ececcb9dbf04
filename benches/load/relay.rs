//! Relay load: pairs of peers, one pair per group, that send messages back and forth.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use sigver::protocol::Message;
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::client::{Protocol, Socket, Target, frame};
use crate::micros;
use crate::process::CpuMeter;

/// How long the load runs before the measurement starts.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);

/// The load to generate.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Number of pairs
    #[arg(long, default_value_t = 100)]
    pub(crate) pairs: usize,
    /// Payload of each message, in bytes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(8..=60_000))]
    pub(crate) bytes: u16,
    /// Messages in flight per pair
    #[arg(long, default_value_t = 1)]
    pub(crate) outstanding: usize,
    /// Total messages per second. Each is sent when it is due, whether or not earlier ones have returned, and its
    /// round-trip time counts from then
    #[arg(long, conflicts_with = "outstanding")]
    pub(crate) rate: Option<f64>,
    /// Duration in seconds
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

/// The results of one load.
pub(crate) struct Figures {
    /// Messages per second, both directions together.
    pub(crate) relayed: f64,
    /// CPU time per message of each process that was measured.
    pub(crate) cpu_times: Vec<Duration>,
    /// Round-trip times in nanoseconds, of messages sent at a fixed rate.
    pub(crate) round_trips: Histogram<u64>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} messages/s", self.relayed)?;
        if !self.round_trips.is_empty() {
            for quantile in [0.5, 0.99, 0.999] {
                let time = Duration::from_nanos(self.round_trips.value_at_quantile(quantile));
                write!(f, ", p{} {:.0} us", quantile * 100.0, micros(time))?;
            }
        }
        Ok(())
    }
}

/// Runs a load between the members at one target and the joiners at another, which may be the same. Measures the CPU
/// times of `processes`.
pub(crate) async fn run([members, joiners]: [&Target; 2], load: &Load, processes: &[&Child]) -> Figures {
    let mut opening = JoinSet::new();
    for pair in 0..load.pairs {
        let (members, joiners, bytes) = (members.clone(), joiners.clone(), usize::from(load.bytes));
        let key = format!("load-{pair}-{}", fastrand::u64(..));
        opening.spawn(async move { Pair::open([&members, &joiners], &key, bytes).await });
    }
    let pairs = opening.join_all().await;

    let counter = Arc::new(AtomicU64::new(0));
    let round_trips = Arc::new(Mutex::new(Histogram::new(3).expect("three digits are supported")));
    let mut peers = JoinSet::new();
    let start = Instant::now() + Duration::from_millis(100);
    let end = start + WARM_UP + Duration::from_secs_f64(load.seconds);
    for (nth, Pair { member, joiner }) in pairs.into_iter().enumerate() {
        peers.spawn(member.bounce(0, counter.clone()));
        match load.rate {
            None => peers.spawn(joiner.bounce(load.outstanding, counter.clone())),
            Some(rate) => {
                let every = Duration::from_secs_f64(load.pairs as f64 / rate);
                let first = start + every.mul_f64(nth as f64 / load.pairs as f64);
                let schedule = Schedule { start, first, every, measured: start + WARM_UP..end };
                peers.spawn(joiner.send_on_schedule(schedule, counter.clone(), round_trips.clone()))
            }
        };
    }

    sleep_until(start + WARM_UP).await;
    let (since, before) = (Instant::now(), counter.load(Ordering::Relaxed));
    let cpu = CpuMeter::start(processes);
    print_progress_until(end, &counter).await;
    let messages = counter.load(Ordering::Relaxed) - before;
    let elapsed = since.elapsed();
    let cpu_times = cpu.per(messages);

    // Messages in flight at the end count with their full round-trip time, so wait for them.
    if load.rate.is_some() {
        sleep(Duration::from_secs(1)).await;
    }
    // A peer that outlives its server would report a lost connection.
    peers.shutdown().await;
    let round_trips = round_trips.lock().expect("nothing panics under this lock").clone();
    Figures { relayed: messages as f64 / elapsed.as_secs_f64(), cpu_times, round_trips }
}

/// Prints the message rate every second.
async fn print_progress_until(end: Instant, counter: &AtomicU64) {
    let mut progress = interval(Duration::from_secs(1));
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    progress.tick().await;
    let mut last = counter.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            () = sleep_until(end) => break,
            _ = progress.tick() => {
                let now = counter.load(Ordering::Relaxed);
                eprint!("\r{:>9} messages/s ", now - last);
                last = now;
            }
        }
    }
}

/// A member and a joiner that is bound to it.
pub(crate) struct Pair {
    pub(crate) member: Peer,
    pub(crate) joiner: Peer,
}

impl Pair {
    /// Opens a member at the first target and a joiner at the second, and relays one message in each direction.
    pub(crate) async fn open([members, joiners]: [&Target; 2], key: &str, bytes: usize) -> Self {
        let mut member = Socket::open(members, key).await;
        if members.protocol == Protocol::Sigver {
            assert!(member.expect_connect(1, &[]).await, "the first peer becomes a member");
        }
        let mut joiner = Socket::open(joiners, key).await;
        if joiners.protocol == Protocol::Sigver {
            assert!(!joiner.expect_connect(2, &[]).await, "the second peer is bound");
        }
        let payload = Bytes::from(vec![b'x'; bytes]);
        let to_member = frame(&Message::content(0, payload.clone()).encode());
        joiner.expect_send(&to_member).await;
        let Ok(Message::Content { sender: link, .. }) = Message::decode(member.expect_recv().await) else {
            panic!("the member receives the joiner's content");
        };
        let to_joiner = frame(&Message::content(link, payload).encode());
        member.expect_send(&to_joiner).await;
        joiner.expect_recv().await;
        Self {
            member: Peer { socket: member, frame: to_joiner, bytes },
            joiner: Peer { socket: joiner, frame: to_member, bytes },
        }
    }
}

/// One peer of a pair.
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    /// A content for the other peer, as a frame.
    pub(crate) frame: Vec<u8>,
    /// The length of its payload. A shorter message is a heartbeat.
    pub(crate) bytes: usize,
}

impl Peer {
    /// Sends `first` messages, then one for each message that it receives.
    async fn bounce(mut self, first: usize, counter: Arc<AtomicU64>) {
        let mut out = self.frame.repeat(first);
        loop {
            self.socket.expect_send(&out).await;
            out.clear();
            let mut received = 0;
            let mut next = Some(self.socket.expect_recv().await);
            while let Some(message) = next {
                if message.len() < self.bytes {
                    out.extend(frame(&Message::HEARTBEAT));
                } else {
                    received += 1;
                    out.extend(&self.frame);
                    let end = out.len();
                    out[end - STAMP..].copy_from_slice(&message[message.len() - STAMP..]);
                }
                next = self.socket.expect_buffered();
            }
            counter.fetch_add(received, Ordering::Relaxed);
        }
    }

    /// Sends messages on a schedule, and records their round-trip times from the time at which each was due.
    async fn send_on_schedule(
        mut self,
        schedule: Schedule,
        counter: Arc<AtomicU64>,
        round_trips: Arc<Mutex<Histogram<u64>>>,
    ) {
        let Schedule { start, first, every, measured } = schedule;
        let mut due = first;
        let mut out = Vec::new();
        loop {
            tokio::select! {
                () = sleep_until(due) => {
                    out.clear();
                    // More than one is due if the timer is late.
                    while due <= Instant::now() {
                        out.extend(&self.frame);
                        let end = out.len();
                        out[end - STAMP..].copy_from_slice(&(due - start).as_nanos().to_be_bytes()[STAMP..]);
                        due += every;
                    }
                    self.socket.expect_send(&out).await;
                }
                message = self.socket.expect_recv() => {
                    let now = Instant::now();
                    let mut round_trips = round_trips.lock().expect("nothing panics under this lock");
                    let mut next = Some(message);
                    while let Some(message) = next {
                        if message.len() >= self.bytes {
                            let stamp = message[message.len() - STAMP..].try_into().expect("the stamp has 8 bytes");
                            let was_due = start + Duration::from_nanos(u64::from_be_bytes(stamp));
                            if measured.contains(&was_due) {
                                let nanos = (now - was_due).as_nanos() as u64;
                                round_trips.record(nanos).expect("the histogram grows");
                            }
                            counter.fetch_add(1, Ordering::Relaxed);
                        }
                        next = self.socket.expect_buffered();
                    }
                }
            }
        }
    }
}

/// Length of the stamp that ends a payload: the time at which it was due, in nanoseconds.
pub(crate) const STAMP: usize = 8;

/// When a peer sends.
struct Schedule {
    /// Stamps count from this time.
    start: Instant,
    first: Instant,
    every: Duration,
    /// Only messages due in this range are measured.
    measured: Range<Instant>,
}
