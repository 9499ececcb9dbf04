//! What all attackers of one process share: their target, their addresses, their join rate and their report.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::limits::{SAFE_PART, default_limit};
use super::{NamedAttack, Options, Report, held_outboxes};
use crate::client::{End, Socket, Target, frame};
use crate::sources::{Buffers, Sources};

/// The attackers of one process.
#[derive(Clone)]
pub(super) struct Attackers {
    pub(super) count: usize,
    pub(super) addresses: u8,
    pub(super) target: Target,
    /// When the next peer may join.
    next_join: Arc<Mutex<Instant>>,
    /// The time between two joins.
    join_interval: Duration,
    report: Arc<Mutex<Report>>,
}

/// Time after the end of an attacker's connection until it connects again.
const PAUSE: Duration = Duration::from_secs(1);
/// Peers of one address that an attack leaves free.
const RESERVE: f64 = 10.0;
/// Time between two bursts of an attacker.
const TICK: Duration = Duration::from_millis(100);

impl Attackers {
    pub(super) fn new(attack: NamedAttack, target: &Target, options: &Options) -> Self {
        let count = attack.attackers(options);
        let (mut per_address, mut joins) =
            (default_limit("max_peers_per_ip") - RESERVE, default_limit("joins_per_second_per_ip"));
        if attack == NamedAttack::HeldOutboxes {
            per_address = held_outboxes::PER_ADDRESS;
            let bytes = default_limit("bytes_per_second_per_ip");
            joins = joins.min(bytes / held_outboxes::BYTES_AT_ONCE as f64);
        }
        let addresses = options.addresses.unwrap_or((count as f64 / per_address).ceil().max(1.0) as u8);
        let joins_per_second = SAFE_PART * f64::from(addresses) * joins;
        Self {
            count,
            addresses,
            target: Target { sources: Sources::hostile(addresses), ..target.clone() },
            next_join: Arc::new(Instant::now().into()),
            join_interval: Duration::from_secs_f64(1.0 / joins_per_second),
            report: Arc::default(),
        }
    }

    /// Returns the key of a new group.
    pub(super) fn key(&self) -> String {
        format!("hostile-{}", fastrand::u64(..))
    }

    /// Opens a peer, as soon as the join rate allows.
    pub(super) async fn open(&self, key: &str) -> Result<Socket, End> {
        self.open_with(key, Buffers::default()).await
    }

    /// Opens a peer with these buffers, as soon as the join rate allows.
    pub(super) async fn open_with(&self, key: &str, buffers: Buffers) -> Result<Socket, End> {
        sleep_until(self.take_turn()).await;
        let stream = self.target.connect_with(buffers).await;
        Socket::open_over(stream.map_err(|_| End::ConnectionLost)?, &self.target, key).await
    }

    /// Returns when the next peer may join, and advances this time.
    fn take_turn(&self) -> Instant {
        let mut next = self.next_join.lock().expect("nothing panics under this lock");
        let turn = Instant::now().max(*next);
        *next = turn + self.join_interval;
        turn
    }

    /// Changes the report.
    pub(super) fn record(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().expect("nothing panics under this lock"));
    }

    /// Repeats an attack of this number of connections. It returns how the server ended one of them.
    pub(super) async fn repeat<F>(self, connections: usize, attack: impl Fn(Self) -> F)
    where
        F: Future<Output = End>,
    {
        loop {
            self.record(|report| report.attackers.started += connections);
            let end = attack(self.clone()).await;
            self.record(|report| report.attackers.count_end(end));
            sleep(PAUSE).await;
        }
    }

    /// Repeats an attack of two connections in as many tasks as there are pairs of attackers.
    pub(super) fn spawn_pairs<F>(&self, attack: impl Fn(Self) -> F + Clone + Send + 'static) -> JoinSet<()>
    where
        F: Future<Output = Result<Infallible, End>> + Send + 'static,
    {
        let mut running = JoinSet::new();
        for _ in 0..self.count / 2 {
            let attack = attack.clone();
            running.spawn(self.clone().repeat(2, move |attackers| {
                let ended = attack(attackers);
                async move {
                    match ended.await {
                        Err(end) => end,
                    }
                }
            }));
        }
        running
    }

    /// Adds tasks in which an attacker joins a group and sends this number of frames per second.
    pub(super) fn spawn_senders(
        &self,
        running: &mut JoinSet<()>,
        count: usize,
        key: &str,
        frame: &[u8],
        per_second: f64,
    ) {
        for _ in 0..count {
            let (key, frame) = (key.to_owned(), frame.to_owned());
            running.spawn(
                self.clone()
                    .repeat(1, move |attackers| join_and_send(attackers, key.clone(), frame.clone(), per_second)),
            );
        }
    }

    /// Returns the report of all attackers.
    pub(super) fn report(&self) -> Report {
        self.report.lock().expect("nothing panics under this lock").clone()
    }
}

/// Joins a group and sends this number of frames per second until the server ends the connection.
async fn join_and_send(attackers: Attackers, key: String, frame: Vec<u8>, per_second: f64) -> End {
    match attackers.open(&key).await {
        Ok(socket) => send_steadily(socket, &frame, per_second).await,
        Err(end) => end,
    }
}

/// Sends this number of frames per second until the server ends the connection. Reads all messages.
pub(super) async fn send_steadily(mut socket: Socket, frame: &[u8], per_second: f64) -> End {
    let mut ticks = interval(TICK);
    let mut due = 0.0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                due += per_second * TICK.as_secs_f64();
                let frames = frame.repeat(due as usize);
                due = due.fract();
                // A close code may have arrived before the connection was lost.
                if socket.send(&frames).await.is_err() {
                    return socket.recv_end().await;
                }
            }
            message = socket.recv() => if let Err(end) = answer(&mut socket, message).await {
                return end;
            }
        }
    }
}

/// Answers heartbeats until the server ends the connection.
pub(super) async fn stay(mut socket: Socket) -> End {
    loop {
        let message = socket.recv().await;
        if let Err(end) = answer(&mut socket, message).await {
            return end;
        }
    }
}

/// Answers a heartbeat. Ignores other messages.
async fn answer(socket: &mut Socket, message: Result<bytes::Bytes, End>) -> Result<(), End> {
    if message? == Message::HEARTBEAT {
        socket.send(&frame(&Message::HEARTBEAT)).await?;
    }
    Ok(())
}
