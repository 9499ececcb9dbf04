//! When a peer's task has to wake although nothing came.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::hub::limits::config::Config;

/// Heartbeats are due at multiples of this since the hub began, so that many peers wake at once and not one by one.
const GRID: Duration = Duration::from_millis(50);

/// One peer's timers, on one [`Sleep`].
pub(in crate::hub) struct Deadlines<'a> {
    sleep: Pin<&'a mut Sleep>,
    config: &'a Config,
    heartbeat: Instant,
    /// Until the peer's first `connect`.
    connect: Option<Instant>,
    /// While its socket takes nothing.
    write: Option<Instant>,
}

/// What it is time for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum Due {
    Heartbeat,
    Connect,
    Write,
}

impl<'a> Deadlines<'a> {
    /// Starts the timers of a peer that opened its socket now. `sleep` is not over.
    pub(in crate::hub) fn start(sleep: Pin<&'a mut Sleep>, config: &'a Config, epoch: Instant) -> Self {
        let now = Instant::now();
        let past_grid =
            now.saturating_duration_since(epoch).as_nanos() % GRID.min(config.heartbeat_interval).as_nanos();
        let opened = now - Duration::from_nanos(past_grid as u64);
        let connect = Some(now + config.first_connect_timeout);
        Self { sleep, config, heartbeat: opened + config.heartbeat_interval, connect, write: None }
    }

    /// How long ago the last heartbeat was due.
    pub(in crate::hub) fn since_heartbeat(&self) -> Duration {
        self.config.heartbeat_interval.saturating_sub(self.heartbeat.saturating_duration_since(Instant::now()))
    }

    /// The peer has asked `connect`.
    pub(in crate::hub) fn connected(&mut self) {
        self.connect = None;
    }

    /// Whether the peer's socket takes nothing more for now, and whether it took a message before that.
    pub(in crate::hub) fn writing(&mut self, stalled: bool, progress: bool) {
        self.write = match self.write.filter(|_| !progress) {
            _ if !stalled => None,
            None => Some(Instant::now() + self.config.outbox_timeout),
            since => since,
        };
    }

    /// Waits for the next one.
    pub(in crate::hub) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
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
                let beat = self.config.heartbeat_interval;
                self.heartbeat = (self.heartbeat + beat).max(now + beat / 2);
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

    /// What is due next, and how many milliseconds after `start`.
    async fn next(deadlines: &mut Deadlines<'_>, start: Instant) -> (Due, u128) {
        let due = poll_fn(|cx| deadlines.poll(cx)).await;
        (due, start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_fall_on_a_grid_that_all_peers_share() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let epoch = Instant::now();
        for opened in [0, 1, 49, 50, 70] {
            advance(Duration::from_millis(opened) - epoch.elapsed()).await;
            let sleep = pin!(sleep(config.heartbeat_interval));
            let deadlines = Deadlines::start(sleep, &config, epoch);
            let due = deadlines.heartbeat.duration_since(epoch).as_millis();
            assert_eq!(due, u128::from(5000 + opened / 50 * 50), "opened at {opened} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn beats_that_were_slept_through_are_not_made_up_for() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 5000));
        advance(62 * SECOND).await;
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 67_000));
        // Half a beat later at the earliest, so that the peer has time to answer.
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 69_500));
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 74_500));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_puts_the_write_deadline_off_and_an_idle_socket_has_none() {
        let config =
            Config { heartbeat_interval: 5 * SECOND, first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        deadlines.writing(true, false);
        advance(4 * SECOND).await;
        deadlines.writing(true, true);
        advance(9 * SECOND).await;
        deadlines.writing(true, false);
        assert_eq!(next(&mut deadlines, start).await.0, Due::Heartbeat);
        assert_eq!(next(&mut deadlines, start).await, (Due::Write, 14_000));
        deadlines.writing(false, false);
        assert_eq!(next(&mut deadlines, start).await.0, Due::Heartbeat);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_connect_is_waited_for_and_no_other() {
        let config = Config { first_connect_timeout: 2 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        assert_eq!(next(&mut deadlines, start).await, (Due::Connect, 2000));
        deadlines.connected();
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 5000));
    }
}
