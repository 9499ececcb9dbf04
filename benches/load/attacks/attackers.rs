//! What all attackers of one process share: their target, their addresses, their join rate and their report.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sigver::protocol::Message;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::limits::{SAFE_PART, required};
use super::{NamedAttack, Options, Report};
use crate::client::{End, Socket, Target, frame};
use crate::sources::Sources;

/// The attackers of one process.
#[derive(Clone)]
pub(super) struct Attackers {
    pub(super) count: usize,
    pub(super) addresses: u8,
    pub(super) target: Target,
    /// Ticks as often as the addresses may join.
    joins: Arc<tokio::sync::Mutex<Interval>>,
    report: Arc<Mutex<Report>>,
}

/// Time after the end of an attacker's connection until it connects again.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two bursts of an attacker.
const TICK: Duration = Duration::from_millis(100);

impl Attackers {
    pub(super) fn new(attack: NamedAttack, target: &Target, options: &Options) -> Self {
        let count = attack.attackers(options);
        let fewest = count as f64 / (required("max_peers_per_ip") - 10.0);
        let addresses = options.addresses.unwrap_or((fewest.ceil() as u8).max(1));
        let per_second = SAFE_PART * f64::from(addresses) * required("joins_per_second_per_ip");
        let mut joins = interval(Duration::from_secs_f64(1.0 / per_second));
        joins.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            count,
            addresses,
            target: Target { sources: Sources::hostile(addresses), ..target.clone() },
            joins: Arc::new(joins.into()),
            report: Arc::default(),
        }
    }

    /// Returns the key of a new group.
    pub(super) fn key(&self) -> String {
        format!("hostile-{}", fastrand::u64(..))
    }

    /// Opens a peer, as soon as the join rate allows.
    pub(super) async fn open(&self, key: &str, receive_buffer: Option<u32>) -> Result<Socket, End> {
        self.joins.lock().await.tick().await;
        let stream = self.target.sources.connect(self.target.address, receive_buffer).await;
        Socket::open_over(stream.map_err(|_| End::ConnectionLost)?, &self.target, key).await
    }

    /// Changes the report.
    pub(super) fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().expect("nothing panics under this lock"));
    }

    /// Repeats an attack of this number of connections. It returns how the server ended one of them.
    pub(super) async fn repeat<F>(self, connections: usize, attack: impl Fn(Self) -> F)
    where
        F: Future<Output = End>,
    {
        loop {
            self.count(|report| report.attackers.started += connections);
            let end = attack(self.clone()).await;
            self.count(|report| report.attackers.count_end(end));
            sleep(PAUSE).await;
        }
    }

    /// Returns the report of all attackers.
    pub(super) fn report(&self) -> Report {
        self.report.lock().expect("nothing panics under this lock").clone()
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
