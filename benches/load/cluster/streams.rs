//! Bare Redis Streams as a baseline: two tasks that send messages back and forth, each with a stream as its inbox.
//!
//! A message is one entry, and has no protocol. What is due at the same time goes into one pipeline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd, pipe};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::engine::Engine;
use crate::process::CpuMeter;
use crate::relay::{Figures, Load, STAMP, WARM_UP};

/// An entry of a stream: its id, and a field with its value.
type Entry = (Vec<u8>, [Vec<u8>; 2]);

/// The names of the two streams.
const INBOXES: [&str; 2] = ["a", "b"];

/// Runs a load. The engine must be new.
pub(super) async fn run(engine: &Engine, load: &Load) -> Figures {
    let counter = Arc::new(AtomicU64::new(0));
    let round_trips = Arc::new(Mutex::new(Histogram::new(3).expect("three digits are supported")));
    let mut tasks = JoinSet::new();
    let mut first = Sender::open(engine, INBOXES[1]).await;
    let second = Sender::open(engine, INBOXES[0]).await;
    let [first_inbox, second_inbox] = [Inbox::open(engine, INBOXES[0]).await, Inbox::open(engine, INBOXES[1]).await];
    tasks.spawn(bounce(second_inbox, second, counter.clone()));
    let start = Instant::now();
    let end = start + WARM_UP + Duration::from_secs_f64(load.seconds);
    let message = vec![b'x'; usize::from(load.bytes)];
    match load.rate {
        None => {
            first.send(&vec![message; load.pairs * load.outstanding]).await;
            tasks.spawn(bounce(first_inbox, first, counter.clone()));
        }
        Some(rate) => {
            tasks.spawn(send_on_schedule(first, start, Duration::from_secs_f64(1.0 / rate), message));
            tasks.spawn(record(first_inbox, start, end, counter.clone(), round_trips.clone()));
        }
    }
    sleep_until(start + WARM_UP).await;
    let (since, before) = (Instant::now(), counter.load(Ordering::Relaxed));
    let processes = [engine.process()];
    let cpu = CpuMeter::start(&processes);
    sleep_until(end).await;
    let (messages, elapsed) = (counter.load(Ordering::Relaxed) - before, since.elapsed());
    let cpu_times = cpu.per(messages);
    // As in `relay::run`: messages in flight at the end count with their full round-trip time.
    if load.rate.is_some() {
        sleep(Duration::from_secs(1)).await;
    }
    tasks.shutdown().await;
    let round_trips = round_trips.lock().expect("nothing panics under this lock").clone();
    Figures { relayed: messages as f64 / elapsed.as_secs_f64(), cpu_times, round_trips }
}

/// Returns each message.
async fn bounce(mut inbox: Inbox, mut to: Sender, counter: Arc<AtomicU64>) {
    loop {
        let messages = inbox.receive().await;
        to.send(&messages).await;
        counter.fetch_add(messages.len() as u64, Ordering::Relaxed);
    }
}

/// Sends a message each time that one is due, stamped with that time.
async fn send_on_schedule(mut to: Sender, start: Instant, every: Duration, mut message: Vec<u8>) {
    let (mut due, stamp) = (start, message.len() - STAMP);
    loop {
        sleep_until(due).await;
        let mut messages = Vec::new();
        // More than one is due if the timer is late.
        while due <= Instant::now() {
            message[stamp..].copy_from_slice(&(due - start).as_nanos().to_be_bytes()[STAMP..]);
            messages.push(message.clone());
            due += every;
        }
        to.send(&messages).await;
    }
}

/// Records the round-trip times of the messages that were due before `end` and after the warm-up.
async fn record(
    mut inbox: Inbox,
    start: Instant,
    end: Instant,
    counter: Arc<AtomicU64>,
    round_trips: Arc<Mutex<Histogram<u64>>>,
) {
    loop {
        let messages = inbox.receive().await;
        let now = Instant::now();
        let mut round_trips = round_trips.lock().expect("nothing panics under this lock");
        for message in &messages {
            let stamp = message[message.len() - STAMP..].try_into().expect("the stamp has 8 bytes");
            let was_due = start + Duration::from_nanos(u64::from_be_bytes(stamp));
            if (start + WARM_UP..end).contains(&was_due) {
                round_trips.record((now - was_due).as_nanos() as u64).expect("the histogram grows");
            }
        }
        counter.fetch_add(messages.len() as u64, Ordering::Relaxed);
    }
}

/// Appends to a stream.
struct Sender {
    connection: MultiplexedConnection,
    stream: &'static str,
}

impl Sender {
    async fn open(engine: &Engine, stream: &'static str) -> Self {
        Self { connection: connect(engine).await, stream }
    }

    async fn send(&mut self, messages: &[Vec<u8>]) {
        let mut appends = pipe();
        for message in messages {
            appends.cmd("XADD").arg(self.stream).arg("MAXLEN").arg("~").arg(10_000).arg("*").arg("b").arg(message);
            appends.ignore();
        }
        () = appends.query_async(&mut self.connection).await.expect("the engine appends");
    }
}

/// Reads a stream.
struct Inbox {
    connection: MultiplexedConnection,
    stream: &'static str,
    /// The id of the last entry that was read.
    cursor: Vec<u8>,
}

impl Inbox {
    async fn open(engine: &Engine, stream: &'static str) -> Self {
        Self { connection: connect(engine).await, stream, cursor: b"0".to_vec() }
    }

    /// Waits for messages.
    async fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(1000).arg("BLOCK").arg(0).arg("STREAMS").arg(self.stream).arg(&self.cursor);
        let streams: Vec<(String, Vec<Entry>)> =
            read.query_async(&mut self.connection).await.expect("the engine waits for a message");
        let entries = streams.into_iter().flat_map(|(_, entries)| entries);
        let mut messages = Vec::new();
        for (id, [_, message]) in entries {
            self.cursor = id;
            messages.push(message);
        }
        messages
    }
}

/// Opens a connection without a timeout, for reads that wait.
async fn connect(engine: &Engine) -> MultiplexedConnection {
    let client = Client::open(engine.url()).expect("the URL is valid");
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await.expect("the engine accepts")
}
