//! Finds the outbox of a peer by the peer's id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxBuildHasher;

use super::outbox::Outbox;
use super::shards::{shards, shrunk_capacity};
use crate::protocol::PeerId;

/// The outboxes of all joined peers, in shards, so that cores rarely wait for each other.
///
/// It uses std's locks in every build: nothing depends on the order in which two peers are inserted or removed.
#[derive(Debug)]
pub(in crate::hub) struct PeerIndex {
    shards: Box<[Shard]>,
}

/// Aligned to cache lines of its own, so that a join in one shard does not slow another core.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Outboxes>);

type Outboxes = HashMap<PeerId, Arc<Outbox>, FxBuildHasher>;

/// The number of peers up to which a shard does not release memory.
const KEPT_CAPACITY: usize = 64;

impl PeerIndex {
    pub(in crate::hub) fn insert(&self, peer: PeerId, outbox: &Arc<Outbox>) {
        self.lock(peer).insert(peer, outbox.clone());
    }

    /// Removes a peer, if it was inserted.
    pub(in crate::hub) fn remove(&self, peer: PeerId) {
        let mut outboxes = self.lock(peer);
        let removed = outboxes.remove(&peer);
        if let Some(capacity) = shrunk_capacity(outboxes.len(), outboxes.capacity(), KEPT_CAPACITY) {
            outboxes.shrink_to(capacity);
        }
        drop(outboxes);
        // An outbox may be dropped here, which needs other locks.
        drop(removed);
    }

    pub(in crate::hub) fn find(&self, peer: PeerId) -> Option<Arc<Outbox>> {
        self.lock(peer).get(&peer).cloned()
    }

    fn lock(&self, peer: PeerId) -> MutexGuard<'_, Outboxes> {
        // Ids are sequential, so their lowest bits spread the peers evenly.
        let shard = peer.0 as usize & (self.shards.len() - 1);
        // Each change leaves a valid table.
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for PeerIndex {
    fn default() -> Self {
        Self { shards: shards() }
    }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;

    use super::*;

    #[test]
    fn index_costs_at_most_64_bytes_per_peer_and_releases_them() {
        let index = PeerIndex::default();
        let outbox = Outbox::new(Arc::default());
        for count in [1000, 10_000, 14_337, 28_673, 100_000, 114_689, 120_000] {
            let cost = measure(|| (0..count).for_each(|peer| index.insert(PeerId(peer), &outbox)));
            assert!(cost.bytes_current <= 64 * count as i64, "{count} peers: {cost:?}");
            assert!(index.find(PeerId(count - 1)).is_some() && index.find(PeerId(count)).is_none());
            (0..count).for_each(|peer| index.remove(PeerId(peer)));
            let kept = index.shards.iter().map(|shard| shard.0.lock().expect("no panic").capacity()).max();
            assert!(kept <= Some(8 * KEPT_CAPACITY), "{kept:?}");
        }
        assert_eq!(Arc::strong_count(&outbox), 1);
    }
}
