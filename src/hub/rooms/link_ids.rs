//! Random link ids that are unique in a hub.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxBuildHasher;

use super::shards::{shards, shrunk_capacity};
use crate::hub::observability::metrics::DeferredGauge;
use crate::protocol::LinkId;

/// The ids of all links of a hub.
pub(super) struct LinkIdPool {
    /// The lowest bits of an id select its shard.
    shards: Box<[Mutex<Ids>]>,
    in_use: AtomicUsize,
    gauge: DeferredGauge,
}

type Ids = HashSet<LinkId, FxBuildHasher>;

/// The number of ids up to which a shard does not release memory.
const KEPT_CAPACITY: usize = 256;

impl LinkIdPool {
    /// Creates the pool of a hub with this name.
    pub(super) fn new(hub: Option<&Arc<str>>) -> Self {
        Self { shards: shards(), in_use: AtomicUsize::new(0), gauge: DeferredGauge::links(hub) }
    }

    /// Returns a random id that no other link of the hub has.
    pub(super) fn allocate(&self) -> LinkId {
        loop {
            // An id that is in use or out of range is so rare that drawing again costs nothing.
            let Some(id) = LinkId::new(fastrand::u32(..) >> 1) else { continue };
            if self.lock(id).insert(id) {
                self.in_use.fetch_add(1, Ordering::Relaxed);
                self.gauge.increment();
                return id;
            }
        }
    }

    /// Makes an id available again. It must be in use.
    pub(super) fn release(&self, id: LinkId) {
        let mut ids = self.lock(id);
        let was_in_use = ids.remove(&id);
        if let Some(capacity) = shrunk_capacity(ids.len(), ids.capacity(), KEPT_CAPACITY) {
            ids.shrink_to(capacity);
        }
        drop(ids);
        debug_assert!(was_in_use, "{id:?} is not in use");
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        self.gauge.decrement();
    }

    /// Returns the number of ids in use.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Reports the number of ids in use to the metrics. The caller must hold no lock.
    pub(super) fn report(&self) {
        self.gauge.report();
    }

    /// Locks the shard of an id. A panic under the lock leaves a valid set of ids.
    fn lock(&self, id: LinkId) -> MutexGuard<'_, Ids> {
        let shard = &self.shards[id.value() as usize & (self.shards.len() - 1)];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LinkIdPool {
    fn default() -> Self {
        Self::new(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_id_is_unique_until_it_is_released() {
        let pool = LinkIdPool::default();
        let allocated: HashSet<_> = (0..10_000).map(|_| pool.allocate()).collect();
        assert_eq!((allocated.len(), pool.in_use()), (10_000, 10_000));
        allocated.into_iter().for_each(|id| pool.release(id));
        assert_eq!(pool.in_use(), 0);
    }

    fn capacities(pool: &LinkIdPool) -> Vec<usize> {
        pool.shards.iter().map(|shard| shard.lock().expect("nothing panicked").capacity()).collect()
    }

    #[test]
    fn burst_of_links_leaks_no_memory() {
        let pool = LinkIdPool::default();
        let burst: Vec<_> = (0..8 * KEPT_CAPACITY * pool.shards.len()).map(|_| pool.allocate()).collect();
        burst.into_iter().for_each(|id| pool.release(id));
        let kept = capacities(&pool).into_iter().max().expect("there are shards");
        assert!(kept <= 8 * KEPT_CAPACITY, "{kept}");
    }

    #[test]
    fn few_links_keep_the_memory_of_their_shards() {
        let pool = LinkIdPool::default();
        let few: Vec<_> = (0..KEPT_CAPACITY * pool.shards.len()).map(|_| pool.allocate()).collect();
        few.into_iter().for_each(|id| pool.release(id));
        let capacities = capacities(&pool);
        assert!(capacities.iter().all(|&capacity| capacity > 0), "the ids used every shard: {capacities:?}");
    }
}
