//! The ids of all links of a hub.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::FxBuildHasher;

use super::registry::shards;
use crate::hub::observability::metrics::LinkMeter;
use crate::protocol::LinkId;

/// Gives out random ids that no other link of the hub has.
pub(in crate::hub) struct LinkIdPool {
    /// An id is in the shard that its lowest bits name.
    shards: Box<[Mutex<HashSet<LinkId, FxBuildHasher>>]>,
    in_use: AtomicUsize,
    meter: LinkMeter,
}

/// For how many ids a shard keeps room.
const KEPT_CAPACITY: usize = 256;

impl LinkIdPool {
    pub(in crate::hub) fn allocate(&self) -> LinkId {
        loop {
            // Taken or out of range is so rare that drawing again costs nothing.
            let Some(id) = LinkId::new(fastrand::u32(..) >> 1) else { continue };
            if self.shard(id).lock().expect("nothing panics under this lock").insert(id) {
                self.in_use.fetch_add(1, Ordering::Relaxed);
                self.meter.up();
                return id;
            }
        }
    }

    pub(in crate::hub) fn release(&self, id: LinkId) {
        let mut ids = self.shard(id).lock().expect("nothing panics under this lock");
        let known = ids.remove(&id);
        debug_assert!(known, "{id:?} was not given out");
        if ids.capacity() > 4 * ids.len().max(KEPT_CAPACITY) {
            let kept = 2 * ids.len();
            ids.shrink_to(kept);
        }
        drop(ids);
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        self.meter.down();
    }

    pub(in crate::hub) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    fn shard(&self, id: LinkId) -> &Mutex<HashSet<LinkId, FxBuildHasher>> {
        &self.shards[id.value() as usize & (self.shards.len() - 1)]
    }
}

impl Default for LinkIdPool {
    fn default() -> Self {
        Self { shards: shards(), in_use: AtomicUsize::new(0), meter: LinkMeter::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_id_is_no_other_links_until_it_is_released() {
        let ids = LinkIdPool::default();
        let given: HashSet<_> = (0..10_000).map(|_| ids.allocate()).collect();
        assert_eq!((given.len(), ids.in_use()), (10_000, 10_000));
        given.into_iter().for_each(|id| ids.release(id));
        assert_eq!(ids.in_use(), 0);
    }
}
