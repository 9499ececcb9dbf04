//! The memory that the outboxes of a hub share.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};

use crate::hub::close::Close;
use crate::hub::sync::{Mutex, MutexGuard};

/// The bytes that each outbox may hold without a reservation, so that the usual relay does not touch shared memory.
pub(in crate::hub) const FREE_BYTES: usize = 4 * 1024;

/// The unit of reservations.
const QUANTUM: usize = 16 * 1024;

/// The bytes of `max_total_outbox_bytes` that all outboxes of a hub have reserved.
///
/// Outboxes of stalled peers are listed by size. When the total is reached, the hub closes the peer with the largest of
/// them. Peers that hold memory without reading can therefore not keep it from others.
#[derive(Debug, Default)]
pub(in crate::hub) struct OutboxBudget {
    reserved: AtomicUsize,
    /// By the bytes of the reservation. The address of the holder makes the key unique.
    stalled: Mutex<Stalled>,
}

type Stalled = BTreeMap<(usize, usize), Weak<dyn Holder>>;

/// An outbox that holds a reservation.
pub(in crate::hub) trait Holder: Debug + Send + Sync {
    /// Discards the queued frames and closes the peer.
    fn close_full(&self, close: Close);
}

impl OutboxBudget {
    /// Returns the number of reserved bytes.
    pub(in crate::hub) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    fn stalled(&self) -> MutexGuard<'_, Stalled> {
        // Each change is a single call, so a panic leaves a valid list.
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reservation of one outbox. Dropping it releases the bytes.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<OutboxBudget>,
    holder: Weak<dyn Holder>,
    bytes: usize,
    stalled: bool,
}

impl Reservation {
    pub(super) fn new(budget: Arc<OutboxBudget>, holder: Weak<dyn Holder>) -> Self {
        Self { budget, holder, bytes: 0, stalled: false }
    }

    /// Grows the reservation to what an outbox needs that holds this number of bytes. Returns false, and changes
    /// nothing, if all reservations would then exceed `max_total`.
    pub(super) fn try_grow(&mut self, held: usize, max_total: usize) -> bool {
        let needed = needed(held);
        if needed <= self.bytes {
            return true;
        }
        let more = needed - self.bytes;
        if self.budget.reserved.fetch_add(more, Ordering::Relaxed) + more > max_total {
            self.budget.reserved.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.set_bytes(needed);
        true
    }

    /// Removes the largest stalled outbox from the list, if it reserves more than this one needs to hold this number of
    /// bytes. The caller must close it, and must not hold the lock of an outbox then.
    pub(super) fn take_larger_stalled(&self, held: usize) -> Option<Arc<dyn Holder>> {
        let mut stalled = self.budget.stalled();
        loop {
            let largest = stalled.last_entry().filter(|largest| largest.key().0 > needed(held))?;
            // An outbox that is being dropped releases its bytes itself.
            if let Some(holder) = largest.remove().upgrade() {
                return Some(holder);
            }
        }
    }

    /// Shrinks the reservation to what an outbox needs that holds this number of bytes.
    pub(super) fn shrink(&mut self, held: usize) {
        let needed = needed(held);
        if needed < self.bytes {
            self.budget.reserved.fetch_sub(self.bytes - needed, Ordering::Relaxed);
            self.set_bytes(needed);
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Sets whether the peer is stalled.
    pub(super) fn set_stalled(&mut self, stalled: bool) {
        if self.stalled != stalled {
            self.stalled = stalled;
            self.list(stalled);
        }
    }

    fn set_bytes(&mut self, bytes: usize) {
        if self.stalled {
            self.list(false);
        }
        self.bytes = bytes;
        if self.stalled {
            self.list(true);
        }
    }

    /// Adds the outbox to the list of stalled ones, or removes it.
    fn list(&self, listed: bool) {
        if self.bytes == 0 {
            return;
        }
        let key = (self.bytes, self.holder.as_ptr().addr());
        let mut stalled = self.budget.stalled();
        if listed {
            stalled.insert(key, self.holder.clone());
        } else {
            stalled.remove(&key);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

fn needed(held: usize) -> usize {
    held.saturating_sub(FREE_BYTES).next_multiple_of(QUANTUM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CloseCode;

    const MAX: usize = 256 * QUANTUM;

    /// Counts its closes.
    #[derive(Debug, Default)]
    struct Peer(AtomicUsize);

    impl Holder for Peer {
        fn close_full(&self, _: Close) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn peers<const N: usize>(budget: &Arc<OutboxBudget>) -> ([Arc<Peer>; N], [Reservation; N]) {
        let peers = [(); N].map(|()| Arc::<Peer>::default());
        let reservations = peers.each_ref().map(|peer| {
            let holder: Weak<Peer> = Arc::downgrade(peer);
            Reservation::new(budget.clone(), holder)
        });
        (peers, reservations)
    }

    fn close_larger(reservation: &Reservation, held: usize) -> bool {
        let larger = reservation.take_larger_stalled(held);
        larger.inspect(|peer| peer.close_full(CloseCode::TryAgainLater.into())).is_some()
    }

    #[test]
    fn first_bytes_are_free_and_the_rest_is_reserved_in_quanta() {
        let budget = Arc::default();
        let (_peers, mut reservations) = peers::<1>(&budget);
        const KIB: usize = 1024;
        for (held, reserved) in [(4 * KIB, 0), (4 * KIB + 1, 16 * KIB), (20 * KIB, 16 * KIB), (60_000, 64 * KIB)] {
            assert!(reservations[0].try_grow(held, MAX));
            assert_eq!(budget.reserved(), reserved, "{held} bytes");
        }
        reservations[0].shrink(FREE_BYTES + 1);
        assert_eq!(budget.reserved(), QUANTUM);
        drop(reservations);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn growth_over_the_total_reserves_nothing() {
        let budget = Arc::default();
        let (_peers, mut reservations) = peers::<2>(&budget);
        assert!(reservations[0].try_grow(MAX - QUANTUM + FREE_BYTES, MAX));
        assert!(!reservations[1].try_grow(QUANTUM + FREE_BYTES + 1, MAX));
        assert_eq!((reservations[1].bytes, budget.reserved()), (0, MAX - QUANTUM));
        assert!(reservations[1].try_grow(QUANTUM + FREE_BYTES, MAX));
        assert_eq!(budget.reserved(), MAX);
    }

    #[test]
    fn largest_stalled_outbox_is_closed_if_it_is_larger_than_the_one_that_grows() {
        let budget = Arc::default();
        let (peers, mut reservations) = peers::<3>(&budget);
        for (reservation, quanta) in reservations.iter_mut().zip([2, 5, 9]) {
            assert!(reservation.try_grow(quanta * QUANTUM, MAX));
        }
        assert!(!close_larger(&reservations[2], 0), "no outbox is stalled");
        reservations[0].set_stalled(true);
        reservations[1].set_stalled(true);
        assert!(!close_larger(&reservations[2], 5 * QUANTUM + FREE_BYTES), "no stalled outbox is larger");
        assert!(close_larger(&reservations[2], 4 * QUANTUM + FREE_BYTES));
        assert!(close_larger(&reservations[2], 0));
        assert!(!close_larger(&reservations[2], 0), "each is closed once");
        assert_eq!(peers.map(|peer| peer.0.load(Ordering::Relaxed)), [1, 1, 0]);
    }

    #[test]
    fn list_of_stalled_outboxes_follows_their_changes() {
        let budget = Arc::<OutboxBudget>::default();
        let (_peers, mut reservations) = peers::<1>(&budget);
        let keys = || budget.stalled().keys().map(|key| key.0 / QUANTUM).collect::<Vec<_>>();
        let reservation = &mut reservations[0];
        reservation.set_stalled(true);
        assert_eq!(keys(), [0; 0]);
        assert!(reservation.try_grow(3 * QUANTUM, MAX));
        assert_eq!(keys(), [3]);
        reservation.shrink(2 * QUANTUM);
        assert_eq!(keys(), [2]);
        reservation.set_stalled(false);
        assert_eq!(keys(), [0; 0]);
        reservation.set_stalled(true);
        assert_eq!(keys(), [2]);
        drop(reservations);
        assert_eq!(keys(), [0; 0]);
    }
}
