//! How many there are of what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A picture of a hub at one moment. Each number is exact, but they are read one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Peers whose sockets are open, members or not.
    pub peers: usize,
    /// Keys that have a peer.
    pub groups: usize,
    /// Links between a joiner and a member.
    pub links: usize,
    /// Contents that were passed on since the hub began.
    pub relayed: u64,
}

/// The numbers that go up and down.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Peers that have a seat in a room.
    pub(super) seats: Arc<Gauge>,
    /// Sockets that are being served, those that are only being closed included.
    pub(super) sockets: Arc<Gauge>,
}

/// How many of something there are, and a wait for none.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicUsize,
    none: Notify,
}

impl Gauge {
    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::Acquire)
    }

    /// Waits until there are none.
    pub(super) async fn none(&self) {
        loop {
            // Listening first: the last one may go between a look and a listen.
            let gone = self.none.notified();
            if self.now() == 0 {
                return;
            }
            gone.await;
        }
    }
}

/// One of what a gauge counts, for as long as it lives.
#[derive(Debug)]
pub(super) struct Count(Arc<Gauge>);

impl Count {
    pub(super) fn up(gauge: &Arc<Gauge>) -> Self {
        gauge.now.fetch_add(1, Ordering::AcqRel);
        Self(gauge.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
