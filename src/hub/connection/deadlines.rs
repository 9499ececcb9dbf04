//! All timers of one peer, on one `Sleep`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::writer::Progress;
use crate::hub::limits::config::Config;

/// Heartbeats are due at multiples of this after the hub's creation, so that one wake-up of the timer serves many peers.
const GRID: Duration = Duration::from_millis(50);

/// The deadlines of one peer.
pub(super) struct Deadlines<'a> {
    sleep: Pin<&'a mut Sleep>,
    config: &'a Config,
    heartbeat: Instant,
    /// `None` after the peer's first `connect`.
    first_connect: Option<Instant>,
    /// `None` while the transport is not stalled.
    write_progress: Option<Instant>,
}

/// A deadline that has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is time to send a heartbeat.
    Heartbeat,
    /// The peer sent no `connect` within `first_connect_timeout`.
    FirstConnect,
    /// The transport made no progress within `outbox_timeout`.
    WriteProgress,
}

impl<'a> Deadlines<'a> {
    /// Starts the timers of a peer that joins now. `sleep` must not have elapsed.
    pub(super) fn start(sleep: Pin<&'a mut Sleep>, config: &'a Config, epoch: Instant) -> Self {
        let now = Instant::now();
        let grid = GRID.min(config.heartbeat_interval);
        let past_grid = now.saturating_duration_since(epoch).as_nanos() % grid.as_nanos();
        let aligned = now - Duration::from_nanos(past_grid as u64);
        let first_connect = Some(now + config.first_connect_timeout);
        Self { sleep, config, heartbeat: aligned + config.heartbeat_interval, first_connect, write_progress: None }
    }

    /// Returns the time since the last heartbeat was due.
    pub(super) fn since_heartbeat(&self) -> Duration {
        self.config.heartbeat_interval.saturating_sub(self.heartbeat.saturating_duration_since(Instant::now()))
    }

    /// Ends the deadline of the first `connect`.
    pub(super) fn set_connected(&mut self) {
        self.first_connect = None;
    }

    /// Starts, restarts or ends the deadline of the write progress.
    pub(super) fn set_progress(&mut self, Progress { stalled, progressed }: Progress) {
        if !stalled {
            self.write_progress = None;
        } else if progressed || self.write_progress.is_none() {
            self.write_progress = Some(Instant::now() + self.config.outbox_timeout);
        }
    }

    /// Waits for the next deadline.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let others = [self.first_connect, self.write_progress];
            let next = others.into_iter().flatten().fold(self.heartbeat, Instant::min);
            // An early wake-up is cheaper than moving the timer twice for each short stall.
            if next < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(next);
            }
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if self.write_progress.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Due::WriteProgress);
            }
            if self.first_connect.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Due::FirstConnect);
            }
            if self.heartbeat <= now {
                // Heartbeats that were missed, for example while the machine was suspended, are skipped.
                let interval = self.config.heartbeat_interval;
                self.heartbeat = (self.heartbeat + interval).max(now + interval / 2);
                return Poll::Ready(Due::Heartbeat);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;
    use tokio::time::{advance, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the next deadline that passes, and the milliseconds since `start`.
    async fn next(deadlines: &mut Deadlines<'_>, start: Instant) -> (Due, u128) {
        let due = poll_fn(|cx| deadlines.poll(cx)).await;
        (due, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_of_all_peers_are_aligned_to_one_grid() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let epoch = Instant::now();
        for joined in [0, 1, 49, 50, 70] {
            advance(Duration::from_millis(joined) - epoch.elapsed()).await;
            let sleep = pin!(sleep(config.heartbeat_interval));
            let deadlines = Deadlines::start(sleep, &config, epoch);
            let due = deadlines.heartbeat.duration_since(epoch).as_millis();
            assert_eq!(due, u128::from(5000 + joined / 50 * 50), "joined at {joined} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_missed_during_a_suspend_are_skipped() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 5000));
        advance(62 * SECOND).await;
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 67_000));
        // At least half an interval later, so that the peer has time to answer.
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 69_500));
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 74_500));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_restarts_the_write_deadline_and_a_flushed_transport_has_none() {
        const STALLED: Progress = Progress { stalled: true, progressed: false };
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        deadlines.set_progress(STALLED);
        advance(4 * SECOND).await;
        deadlines.set_progress(Progress { stalled: true, progressed: true });
        advance(9 * SECOND).await;
        deadlines.set_progress(STALLED);
        assert_eq!(next(&mut deadlines, start).await.0, Due::Heartbeat);
        assert_eq!(next(&mut deadlines, start).await, (Due::WriteProgress, 14_000));
        deadlines.set_progress(Progress { stalled: false, progressed: false });
        assert_eq!(next(&mut deadlines, start).await.0, Due::Heartbeat);
    }

    #[tokio::test(start_paused = true)]
    async fn first_connect_timeout_ends_with_the_first_connect() {
        let config = Config { first_connect_timeout: 2 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        assert_eq!(next(&mut deadlines, start).await, (Due::FirstConnect, 2000));
        deadlines.set_connected();
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 5000));
    }
}
