//! When a peer's task has to wake although nothing came.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Limits;

/// Heartbeats are due at multiples of this since the hub began, so that many peers wake at once and not one by one.
const GRID: Duration = Duration::from_millis(50);

/// One peer's timers, on one [`Sleep`].
pub(super) struct Deadlines<'a> {
    sleep: Pin<&'a mut Sleep>,
    limits: &'a Limits,
    heartbeat: Instant,
    /// Until the peer's first `connect`.
    connect: Option<Instant>,
    /// While its socket takes nothing.
    write: Option<Instant>,
}

/// What it is time for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Heartbeat,
    Connect,
    Write,
}

impl<'a> Deadlines<'a> {
    /// Starts the timers of a peer that opened its socket now. `sleep` is not over.
    pub(super) fn start(sleep: Pin<&'a mut Sleep>, limits: &'a Limits, epoch: Instant) -> Self {
        let now = Instant::now();
        let past_grid = now.saturating_duration_since(epoch).as_nanos() % GRID.min(limits.heartbeat).as_nanos();
        let opened = now - Duration::from_nanos(past_grid as u64);
        let connect = Some(now + limits.connect_within);
        Self { sleep, limits, heartbeat: opened + limits.heartbeat, connect, write: None }
    }

    /// The peer has asked `connect`.
    pub(super) fn connected(&mut self) {
        self.connect = None;
    }

    /// Whether the peer's socket takes nothing more for now, and whether it took a message before that.
    pub(super) fn writing(&mut self, stalled: bool, progress: bool) {
        self.write = match self.write.filter(|_| !progress) {
            _ if !stalled => None,
            None => Some(Instant::now() + self.limits.write_within),
            since => since,
        };
    }

    /// Waits for the next one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let next = [Some(self.heartbeat), self.connect, self.write].into_iter().flatten().min();
            let next = next.expect("there is always a next heartbeat");
            // Sleeping less long than needed is cheaper than moving a timer twice for each short stall.
            if next < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(next);
            }
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if self.write.is_some_and(|at| at <= now) {
                return Poll::Ready(Due::Write);
            }
            if self.connect.is_some_and(|at| at <= now) {
                return Poll::Ready(Due::Connect);
            }
            if self.heartbeat <= now {
                // Beats that were slept through, with the whole machine say, are not made up for.
                let beat = self.limits.heartbeat;
                self.heartbeat = (self.heartbeat + beat).max(now + beat / 2);
                return Poll::Ready(Due::Heartbeat);
            }
        }
    }
}
