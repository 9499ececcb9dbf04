//! Log lines about rejected and closed peers, at most one per cause and minute.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key_hash::KeyHash;
use crate::hub::limits::Cause;
use crate::protocol::{CloseCode, PeerId};

/// The time between two lines about one limit.
const INTERVAL: Duration = Duration::from_secs(60);

/// Writes a line at the level `warn` when a limit rejects or closes peers.
///
/// The first peer is logged at once. Later ones are counted, and the next line is written a minute after the last one
/// at the earliest: with the next peer, or by [`LimitLog::write_due`]. [`Cause::Draining`] is not a limit, and neither is
/// the end of a session at the time that the app has set.
pub(in crate::hub) struct LimitLog {
    tallies: [Mutex<Tally>; Cause::ALL.len()],
    /// When the first tally with unwritten counts is due, in milliseconds after `epoch`. `u64::MAX` if there is none.
    due: AtomicU64,
    epoch: Instant,
    /// The name of the hub.
    hub: Option<Arc<str>>,
}

/// What a limit did since its last line.
#[derive(Default)]
struct Tally {
    rejected: u64,
    closed: u64,
    /// The first of these peers. `None` if there are none.
    example: Option<Example>,
    /// When the next line may be written, in milliseconds after the epoch.
    due: u64,
}

/// The peer shown in a line, without the key of its group and without text that the app composed.
#[derive(Debug)]
pub(in crate::hub) struct Example {
    pub(in crate::hub) client_ip: Option<IpAddr>,
    pub(in crate::hub) group: Option<KeyHash>,
    /// `None` if the peer did not join.
    pub(in crate::hub) peer: Option<PeerId>,
    pub(in crate::hub) code: CloseCode,
    pub(in crate::hub) reason: Option<Arc<str>>,
}

impl LimitLog {
    pub(in crate::hub) fn new(epoch: Instant, hub: Option<Arc<str>>) -> Self {
        let tallies = std::array::from_fn(|_| Mutex::default());
        Self { tallies, due: AtomicU64::new(u64::MAX), epoch, hub }
    }

    /// Counts a rejected join. Calls `example` only if a line can show it.
    pub(in crate::hub) fn count_rejection(&self, cause: Cause, example: impl FnOnce() -> Example) {
        self.count(cause, |tally| tally.rejected += 1, example);
    }

    /// Counts a closed peer. Calls `example` only if a line can show it.
    pub(in crate::hub) fn count_close(&self, cause: Cause, example: impl FnOnce() -> Example) {
        if cause != Cause::ExpiresAt {
            self.count(cause, |tally| tally.closed += 1, example);
        }
    }

    /// Writes the counts whose minute has passed. Costs one atomic load if there are none.
    pub(in crate::hub) fn write_due(&self) {
        if self.due.load(Ordering::Relaxed) != u64::MAX {
            self.write_until(self.clock());
        }
    }

    /// Writes all counts, before the hub ends.
    pub(in crate::hub) fn write_all(&self) {
        self.write_until(u64::MAX);
    }

    fn count(&self, cause: Cause, count: impl FnOnce(&mut Tally), example: impl FnOnce() -> Example) {
        if cause == Cause::Draining {
            return;
        }
        let now = self.clock();
        let mut tally = self.lock(cause);
        count(&mut tally);
        tally.example.get_or_insert_with(example);
        let line = tally.take_line(now, now);
        if line.is_none() {
            self.due.fetch_min(tally.due, Ordering::Relaxed);
        }
        drop(tally);
        if let Some(line) = line {
            line.write(cause, self.hub.as_deref());
        }
    }

    /// Writes the counts that are due at `time`.
    fn write_until(&self, time: u64) {
        if self.due.load(Ordering::Relaxed) > time {
            return;
        }
        // Before the tallies are read: a count that this call misses sets the time again.
        self.due.store(u64::MAX, Ordering::Relaxed);
        let now = self.clock();
        for &cause in Cause::ALL {
            let mut tally = self.lock(cause);
            let line = tally.take_line(time, now);
            if tally.example.is_some() {
                self.due.fetch_min(tally.due, Ordering::Relaxed);
            }
            drop(tally);
            if let Some(line) = line {
                line.write(cause, self.hub.as_deref());
            }
        }
    }

    /// A tally is valid after every change, so a panic under its lock does no harm.
    fn lock(&self, cause: Cause) -> MutexGuard<'_, Tally> {
        self.tallies[cause as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> u64 {
        Instant::now().saturating_duration_since(self.epoch).as_millis() as u64
    }
}

impl Tally {
    /// Takes the counts of the line that is due at `time`, and resets them. `None` if no line is due.
    fn take_line(&mut self, time: u64, now: u64) -> Option<Line> {
        let example = self.example.take_if(|_| self.due <= time)?;
        self.due = now + INTERVAL.as_millis() as u64;
        Some(Line { rejected: std::mem::take(&mut self.rejected), closed: std::mem::take(&mut self.closed), example })
    }
}

/// The content of one line.
struct Line {
    rejected: u64,
    closed: u64,
    example: Example,
}

impl Line {
    /// Writes the line outside of every span: the span of the current task belongs to another peer.
    fn write(self, cause: Cause, hub: Option<&str>) {
        let Self { rejected, closed, example: Example { client_ip, group, peer, code, reason } } = self;
        tracing::warn!(
            parent: None,
            hub,
            %cause,
            rejected,
            closed,
            client_ip = client_ip.map(tracing::field::display),
            group = group.map(tracing::field::display),
            peer = peer.map(|peer| peer.0),
            code = code.as_u16(),
            reason = reason.as_deref(),
            "peers rejected or closed; one of them is shown",
        );
    }
}
