//! The memory that the outboxes of a hub share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that each outbox may hold without a reservation, so that the usual relay does not touch shared memory.
pub(in crate::hub) const FREE_BYTES: usize = 4 * 1024;

/// The unit of reservations.
const QUANTUM: usize = 16 * 1024;

/// The divisor for the share of one reservation. `Config::check` ensures that one outbox can hold `max_outbox_bytes`.
const SHARE: usize = 4;

/// The bytes that all outboxes of a hub have reserved of `max_total_outbox_bytes`.
///
/// A reservation may grow to a quarter of the bytes that no other outbox has reserved. Therefore the limit of one outbox
/// falls as the total rises, and the outboxes that hold the most reach it first. When n outboxes have reached it, each
/// holds 1/(n + 3) of the total, and 3/(n + 3) remains for outboxes that hold less.
#[derive(Debug, Default)]
pub(in crate::hub) struct OutboxBudget {
    reserved: AtomicUsize,
}

impl OutboxBudget {
    /// Returns the number of reserved bytes.
    pub(in crate::hub) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }
}

/// The reservation of one outbox. Dropping it releases the bytes.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<OutboxBudget>,
    bytes: usize,
}

impl Reservation {
    pub(super) fn new(budget: Arc<OutboxBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Grows the reservation to what an outbox needs that holds this number of bytes. Returns false, and changes
    /// nothing, if that would exceed its share of `max_total`.
    pub(super) fn try_grow(&mut self, held: usize, max_total: usize) -> bool {
        let needed = needed(held);
        if needed <= self.bytes {
            return true;
        }
        let more = needed - self.bytes;
        let others = self.budget.reserved.fetch_add(more, Ordering::Relaxed) - self.bytes;
        let allowed = needed <= max_total.saturating_sub(others) / SHARE;
        if allowed {
            self.bytes = needed;
        } else {
            self.budget.reserved.fetch_sub(more, Ordering::Relaxed);
        }
        allowed
    }

    /// Sets the reservation to what an outbox needs that holds this number of bytes.
    pub(super) fn set(&mut self, held: usize) {
        let needed = needed(held);
        if needed != self.bytes {
            self.budget.reserved.fetch_add(needed.wrapping_sub(self.bytes), Ordering::Relaxed);
            self.bytes = needed;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

fn needed(held: usize) -> usize {
    held.saturating_sub(FREE_BYTES).next_multiple_of(QUANTUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 256 * QUANTUM;

    fn reservations(count: usize) -> (Arc<OutboxBudget>, Vec<Reservation>) {
        let budget = Arc::<OutboxBudget>::default();
        let reservations = (0..count).map(|_| Reservation::new(budget.clone())).collect();
        (budget, reservations)
    }

    /// Grows a reservation by one quantum at a time, and returns the number of quanta that it has in the end.
    fn grow(reservation: &mut Reservation) -> usize {
        while reservation.try_grow(reservation.bytes + FREE_BYTES + 1, MAX) {}
        reservation.bytes / QUANTUM
    }

    #[test]
    fn first_bytes_are_free_and_the_rest_is_reserved_in_quanta() {
        let (budget, mut reservations) = reservations(1);
        for (held, quanta) in [(FREE_BYTES, 0), (FREE_BYTES + 1, 1), (FREE_BYTES + QUANTUM, 1), (60_000, 4)] {
            assert!(reservations[0].try_grow(held, MAX));
            assert_eq!(budget.reserved(), quanta * QUANTUM, "{held} bytes");
        }
        reservations[0].set(FREE_BYTES + 1);
        assert_eq!(budget.reserved(), QUANTUM);
        drop(reservations);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn limit_of_one_outbox_falls_as_the_total_rises_and_leaves_room_for_others() {
        let (budget, mut reservations) = reservations(20);
        let quanta: Vec<_> = reservations.iter_mut().map(grow).collect();
        assert!(quanta.is_sorted_by(|earlier, later| earlier >= later), "{quanta:?}");
        assert_eq!((quanta[0], quanta[1]), (64, 48));
        assert!(budget.reserved() < MAX);
        assert!(!reservations[0].try_grow(65 * QUANTUM, MAX));
        let mut small = Reservation::new(budget);
        assert!(small.try_grow(FREE_BYTES, MAX));
    }

    #[test]
    fn rejected_growth_reserves_nothing() {
        let (budget, mut reservations) = reservations(1);
        assert!(!reservations[0].try_grow(MAX / SHARE + FREE_BYTES + 1, MAX));
        assert_eq!((reservations[0].bytes, budget.reserved()), (0, 0));
        assert!(reservations[0].try_grow(MAX / SHARE + FREE_BYTES, MAX));
    }
}
