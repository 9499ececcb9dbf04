//! All timers of one peer, on one `Sleep`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

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
    oldest_message: Option<Instant>,
}

/// A deadline that has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is time to send a heartbeat.
    Heartbeat,
    /// The peer sent no `connect` within `first_connect_timeout`.
    FirstConnect,
    /// The oldest queued message has waited for `outbox_timeout`.
    OldestMessage,
    /// The peer's session has expired.
    Expiry,
}

impl<'a> Deadlines<'a> {
    /// Starts the timers of a peer that joins now. `sleep` must not have elapsed.
    pub(super) fn start(sleep: Pin<&'a mut Sleep>, config: &'a Config, epoch: Instant) -> Self {
        let now = Instant::now();
        let grid = GRID.min(config.heartbeat_interval);
        let past_grid = now.saturating_duration_since(epoch).as_nanos() % grid.as_nanos();
        let aligned = now - Duration::from_nanos(past_grid as u64);
        let first_connect = Some(now + config.first_connect_timeout);
        Self { sleep, config, heartbeat: aligned + config.heartbeat_interval, first_connect, oldest_message: None }
    }

    /// Returns the time since the last heartbeat was due.
    pub(super) fn since_heartbeat(&self) -> Duration {
        self.config.heartbeat_interval.saturating_sub(self.heartbeat.saturating_duration_since(Instant::now()))
    }

    /// Ends the deadline of the first `connect`.
    pub(super) fn set_connected(&mut self) {
        self.first_connect = None;
    }

    /// Sets the time at which the oldest unwritten message was queued. `None` ends the deadline.
    pub(super) fn set_oldest_message(&mut self, queued_at: Option<Instant>) {
        self.oldest_message = queued_at.map(|time| time + self.config.outbox_timeout);
    }

    /// Waits for the next deadline. `expiry` never changes; it is not stored here, because few peers have one.
    pub(super) fn poll(&mut self, expiry: Option<Instant>, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let others = [self.first_connect, self.oldest_message, expiry];
            let next = others.into_iter().flatten().fold(self.heartbeat, Instant::min);
            // An early wake-up is cheaper than moving the timer twice for each short stall.
            if next < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(next);
            }
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if expiry.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Due::Expiry);
            }
            if self.oldest_message.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Due::OldestMessage);
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
        let due = poll_fn(|cx| deadlines.poll(None, cx)).await;
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
    async fn oldest_message_is_due_outbox_timeout_after_it_was_queued() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        advance(4 * SECOND).await;
        deadlines.set_oldest_message(Some(start + SECOND));
        assert_eq!(next(&mut deadlines, start).await.0, Due::Heartbeat);
        deadlines.set_oldest_message(Some(start + 2 * SECOND));
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 10_000));
        assert_eq!(next(&mut deadlines, start).await, (Due::OldestMessage, 12_000));
        deadlines.set_oldest_message(None);
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

    #[tokio::test(start_paused = true)]
    async fn expiry_is_due_at_its_time_or_at_once_if_it_has_passed() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        let expiry = start + Duration::from_millis(7001);
        for expected in [(Due::Heartbeat, 5000), (Due::Expiry, 7001), (Due::Expiry, 7001)] {
            let due = poll_fn(|cx| deadlines.poll(Some(expiry), cx)).await;
            assert_eq!((due, start.elapsed().as_millis()), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_since_heartbeat_begins_when_the_heartbeat_is_due() {
        let config = Config { first_connect_timeout: 3600 * SECOND, ..Config::default() };
        let start = Instant::now();
        let sleep = pin!(sleep(config.heartbeat_interval));
        let mut deadlines = Deadlines::start(sleep, &config, start);
        assert_eq!(next(&mut deadlines, start).await, (Due::Heartbeat, 5000));
        assert_eq!(deadlines.since_heartbeat(), Duration::ZERO);
        advance(2 * SECOND).await;
        assert_eq!(deadlines.since_heartbeat(), 2 * SECOND);
    }
}
