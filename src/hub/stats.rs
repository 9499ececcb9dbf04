//! How many there are of what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::Guard;

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
    /// Peers that a limit, a deadline or a check has refused or put out since the hub began.
    pub turned_away: TurnedAway,
}

/// How many peers each [`Guard`] has turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnedAway([u64; Guard::ALL.len()]);

impl TurnedAway {
    /// How many this one has.
    pub fn by(&self, guard: Guard) -> u64 {
        self.0[guard as usize]
    }

    /// How many all of them have.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The numbers that go up and down.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Peers that have a seat in a room.
    pub(super) seats: Arc<Gauge>,
    /// Tickets: peers that are let in, whether they have a seat yet or not.
    pub(super) tickets: Arc<Gauge>,
    /// Sockets that are being served, those that are only being closed included.
    pub(super) sockets: Arc<Gauge>,
    /// By guard.
    pub(super) turned_away: [AtomicU64; Guard::ALL.len()],
}

impl Counters {
    pub(super) fn turned_away(&self) -> TurnedAway {
        TurnedAway(self.turned_away.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
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

    /// One more, unless there are so many already.
    pub(super) fn up_to(gauge: &Arc<Gauge>, most: usize) -> Option<Self> {
        let one_more = |now| (now < most).then_some(now + 1);
        gauge.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok().map(|_| Self(gauge.clone()))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_is_refused_was_never_counted() {
        let gauge = Arc::default();
        let come_and_go = || {
            (0..1_000_000).all(|_| {
                let _one = Count::up_to(&gauge, 1);
                gauge.now() <= 1
            })
        };
        let kept = thread::scope(|scope| [(); 2].map(|()| scope.spawn(come_and_go)).map(|thread| thread.join()));
        assert!(kept.into_iter().all(|kept| kept.expect("it does not panic")), "more than there may be");
        assert_eq!(gauge.now(), 0);
    }
}
