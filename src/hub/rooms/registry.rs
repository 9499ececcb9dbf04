//! Maps each group key to its room.

use std::collections::hash_map::{HashMap, RandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

#[cfg(feature = "cluster")]
use super::cluster_rooms::ClusterRooms;
use super::largest::LargestRooms;
use super::link_ids::LinkIdPool;
use super::room::Room;
use super::shards::{shards, shrunk_capacity};
use crate::hub::admission::rejection::Rejection;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::count::{Count, CountGuard};
use crate::hub::observability::event_bus::EventBus;
use crate::hub::observability::events::HubEvent;
use crate::hub::observability::metrics::DeferredGauge;
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::{CloseCode, GroupKey};

/// The rooms of a hub, in shards, so that cores rarely wait for each other.
///
/// It queues [`HubEvent::GroupCreated`] and [`HubEvent::GroupRemoved`] under the lock of the group's shard. Therefore
/// the events of one group stay in order, even if the group is removed and created again. No code of the app runs under
/// that lock: the caller wakes the readers of events and calls [`Registry::report_gauges`] afterwards.
pub(in crate::hub) struct Registry {
    shards: Box<[Shard]>,
    hasher: RandomState,
    config: Arc<Config>,
    link_ids: Arc<LinkIdPool>,
    /// The number of rooms in all shards.
    room_count: Arc<Count>,
    gauge: DeferredGauge,
    events: Arc<EventBus>,
    /// `None` if the hub is not in a cluster.
    #[cfg(feature = "cluster")]
    cluster: Option<ClusterRooms>,
}

/// Aligned to cache lines of its own, so that a count in one shard does not slow another core.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    rooms: Mutex<HashMap<GroupKey, Entry>>,
    relayed_messages: AtomicU64,
}

struct Entry {
    room: Arc<Room>,
    /// Stored, because hashing every key would slow a search of the shard.
    hash: u64,
    /// Peers that acquired the room and have not released it. The shard's lock protects the number, so that a room is
    /// never removed while a peer joins.
    peers: usize,
    _count: CountGuard,
}

/// The number of keys up to which a shard does not release memory.
const KEPT_CAPACITY: usize = 64;

impl Registry {
    pub(in crate::hub) fn new(config: Arc<Config>, events: Arc<EventBus>) -> Self {
        let link_ids = Arc::new(LinkIdPool::new(config.name.as_ref()));
        let gauge = DeferredGauge::groups(config.name.as_ref());
        Self {
            shards: shards(),
            hasher: RandomState::new(),
            config,
            link_ids,
            room_count: Arc::default(),
            gauge,
            events,
            #[cfg(feature = "cluster")]
            cluster: None,
        }
    }

    /// Makes the groups of all rooms span the nodes of a cluster.
    #[cfg(feature = "cluster")]
    pub(in crate::hub) fn set_cluster(&mut self, rooms: ClusterRooms) {
        self.cluster = Some(rooms);
    }

    /// Returns the rooms of a clustered hub by the tags of their groups.
    #[cfg(feature = "cluster")]
    pub(in crate::hub) fn cluster(&self) -> Option<&ClusterRooms> {
        self.cluster.as_ref()
    }

    /// Returns the room of a key, if there is one.
    pub(in crate::hub) fn find(&self, key: &GroupKey) -> Option<Arc<Room>> {
        self.shards[self.shard_index(key)].lock().get(key).map(|entry| entry.room.clone())
    }

    /// Returns the room of the key with this hash, if there is one. It searches only the shard that can contain the key.
    pub(in crate::hub) fn find_by_hash(&self, hash: u64) -> Option<Arc<Room>> {
        let rooms = self.shards[self.shard_of(hash)].lock();
        rooms.values().find(|entry| entry.hash == hash).map(|entry| entry.room.clone())
    }

    /// Returns the number that stands for a key in logs. It stays the same while the hub exists, and does not reveal
    /// the key.
    pub(in crate::hub) fn hash(&self, key: &GroupKey) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Returns the room of a key for a peer that joins, and creates the room if necessary. The caller must release it.
    pub(in crate::hub) fn acquire(&self, key: &GroupKey) -> Result<Arc<Room>, Rejection> {
        let hash = self.hash(key);
        let shard = self.shard_of(hash);
        let mut rooms = self.shards[shard].lock();
        if let Some(entry) = rooms.get_mut(key) {
            let max = self.config.max_peers_per_group;
            if entry.peers >= max {
                let reason = format!("peer limit of the group reached ({max})");
                return Err(Rejection::by(Cause::MaxPeersPerGroup, CloseCode::TryAgainLater, reason));
            }
            entry.peers += 1;
            if entry.peers == 1 {
                self.report_created(key);
            }
            return Ok(entry.room.clone());
        }
        let max = self.config.max_groups;
        let Some(count) = CountGuard::try_new(&self.room_count, max) else {
            let reason = format!("group limit reached ({max})");
            return Err(Rejection::by(Cause::MaxGroups, CloseCode::TryAgainLater, reason));
        };
        let room = self.new_room(key, shard);
        rooms.insert(key.clone(), Entry { room: room.clone(), hash, peers: 1, _count: count });
        self.report_created(key);
        Ok(room)
    }

    /// Reverts one [`Registry::acquire`], and removes the room if it was the last. A room that still has to tell other
    /// nodes of a leave stays until [`Registry::remove_idle`].
    pub(in crate::hub) fn release(&self, room: &Room) {
        let mut rooms = self.shards[room.shard()].lock();
        let entry = rooms.get_mut(room.key()).expect("a room stays until it is released as often as acquired");
        entry.peers -= 1;
        if entry.peers == 0 {
            self.gauge.decrement();
            self.events.push(|| HubEvent::GroupRemoved { key: room.key().clone() });
            self.remove_if_idle(&mut rooms, room);
        }
    }

    /// Removes a room without peers, unless it still has something to tell other nodes.
    #[cfg(feature = "cluster")]
    pub(in crate::hub) fn remove_idle(&self, room: &Arc<Room>) {
        let mut rooms = self.shards[room.shard()].lock();
        if rooms.get(room.key()).is_some_and(|entry| entry.peers == 0 && Arc::ptr_eq(&entry.room, room)) {
            self.remove_if_idle(&mut rooms, room);
        }
    }

    fn remove_if_idle(&self, rooms: &mut HashMap<GroupKey, Entry>, room: &Room) {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            if !room.is_idle() {
                return;
            }
            cluster.remove(room.key());
        }
        rooms.remove(room.key());
        shrink(rooms);
    }

    fn new_room(&self, key: &GroupKey, shard: usize) -> Arc<Room> {
        let room = Room::new(key.clone(), shard, self.config.clone(), self.link_ids.clone());
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &self.cluster {
            return cluster.insert(room);
        }
        Arc::new(room)
    }

    fn report_created(&self, key: &GroupKey) {
        self.gauge.increment();
        self.events.push(|| HubEvent::GroupCreated { key: key.clone() });
    }

    /// Reports the numbers of groups and links to the metrics. The caller must hold no lock.
    pub(in crate::hub) fn report_gauges(&self) {
        self.gauge.report();
        self.link_ids.report();
    }

    pub(in crate::hub) fn count_relayed_message(&self, room: &Room) {
        self.shards[room.shard()].relayed_messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::hub) fn relayed_messages(&self) -> u64 {
        self.shards.iter().map(|shard| shard.relayed_messages.load(Ordering::Relaxed)).sum()
    }

    pub(in crate::hub) fn room_count(&self) -> usize {
        self.room_count.get()
    }

    /// Waits until the last room is removed.
    pub(in crate::hub) async fn wait_for_no_room(&self) {
        self.room_count.wait_for_zero().await;
    }

    pub(in crate::hub) fn link_count(&self) -> usize {
        self.link_ids.in_use()
    }

    /// Returns all rooms. It locks one shard at a time.
    pub(in crate::hub) fn rooms(&self) -> Vec<Arc<Room>> {
        (0..self.shard_count()).flat_map(|shard| self.rooms_of_shard(shard)).collect()
    }

    /// Returns the number of shards, which never changes.
    pub(in crate::hub) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// Returns the rooms of a shard.
    pub(in crate::hub) fn rooms_of_shard(&self, shard: usize) -> Vec<Arc<Room>> {
        self.shards[shard].lock().values().map(|entry| entry.room.clone()).collect()
    }

    /// Adds the rooms of a shard to `largest`. It locks no room.
    pub(in crate::hub) fn add_shard(&self, shard: usize, largest: &mut LargestRooms) {
        for entry in self.shards[shard].lock().values() {
            largest.insert(&entry.room, entry.peers, entry.hash);
        }
    }

    fn shard_index(&self, key: &GroupKey) -> usize {
        self.shard_of(self.hash(key))
    }

    fn shard_of(&self, hash: u64) -> usize {
        hash as usize & (self.shards.len() - 1)
    }
}

impl Shard {
    /// Locks the rooms. Each change leaves the table valid at every step, so it can be trusted even if a panic, which
    /// would be a bug, poisoned the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<GroupKey, Entry>> {
        #[cfg(test)]
        crate::hub::sync::count_lock();
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases memory after a burst of keys, but rarely enough that the next burst does not pay for it.
fn shrink(rooms: &mut HashMap<GroupKey, Entry>) {
    if let Some(capacity) = shrunk_capacity(rooms.len(), rooms.capacity(), KEPT_CAPACITY) {
        rooms.shrink_to(capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let config = Config { max_groups: usize::MAX, ..Config::default() };
        Registry::new(Arc::new(config), Arc::default())
    }

    fn acquire(registry: &Registry, key: u32) -> Arc<Room> {
        let key = GroupKey::new(key.to_string()).expect("a valid key");
        registry.acquire(&key).expect("no limit is reached")
    }

    #[test]
    fn room_is_found_by_the_hash_of_its_key_in_one_shard() {
        let registry = registry();
        let room = acquire(&registry, 1);
        let key = room.key();
        let hash = registry.hash(key);
        assert_eq!(registry.find_by_hash(hash).expect("a room").key(), key);
        assert!(registry.find_by_hash(!hash).is_none());

        // In another shard, a search of all shards would still find the room.
        let (right, wrong) = (registry.shard_index(key), registry.shard_of(!hash));
        let entry = registry.shards[right].lock().remove(key).expect("an entry");
        registry.shards[wrong].lock().insert(key.clone(), entry);
        assert!(registry.find_by_hash(hash).is_none());
    }

    #[test]
    fn burst_of_keys_leaks_no_memory() {
        let registry = registry();
        let rooms: Vec<_> = (0..100_000).map(|key| acquire(&registry, key)).collect();
        assert_eq!(registry.room_count(), 100_000);
        rooms.iter().for_each(|room| registry.release(room));
        assert_eq!(registry.room_count(), 0);
        let kept = registry.shards.iter().map(|shard| shard.lock().capacity()).max().expect("there are shards");
        assert!(kept <= 8 * KEPT_CAPACITY, "{kept}");
    }

    #[test]
    fn few_keys_of_a_shard_keep_its_memory() {
        let config = Arc::<Config>::default();
        let entries = (0..KEPT_CAPACITY as u64).map(|hash| {
            let key = GroupKey::new(hash.to_string()).expect("a valid key");
            let room = Arc::new(Room::new(key.clone(), 0, config.clone(), Arc::default()));
            (key, Entry { room, hash, peers: 1, _count: CountGuard::new(&Arc::default()) })
        });
        let mut rooms = HashMap::from_iter(entries);
        while let Some(key) = rooms.keys().next().cloned() {
            rooms.remove(&key);
            shrink(&mut rooms);
        }
        assert!(rooms.capacity() > 0);
    }

    #[test]
    fn hashes_of_keys_differ_and_spread_the_rooms_over_the_shards() {
        let registry = registry();
        let rooms: Vec<_> = (0..1000).map(|key| acquire(&registry, key)).collect();
        let hashes: std::collections::HashSet<_> = rooms.iter().map(|room| registry.hash(room.key())).collect();
        assert_eq!(hashes.len(), rooms.len());
        let largest = (0..registry.shard_count()).map(|shard| registry.rooms_of_shard(shard).len()).max();
        assert!(largest < Some(rooms.len()), "{largest:?}");
    }

    #[test]
    fn panic_under_the_lock_of_a_shard_leaves_its_rooms_usable() {
        let registry = registry();
        let room = acquire(&registry, 1);
        let bug = || {
            let _rooms = registry.shards[room.shard()].lock();
            panic!("a bug under the lock");
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(bug)).expect_err("the bug panics");
        assert!(registry.shards[room.shard()].rooms.lock().is_err(), "the lock is poisoned");

        assert!(Arc::ptr_eq(&acquire(&registry, 1), &room));
        assert_eq!(registry.rooms().len(), 1);
        (0..2).for_each(|_| registry.release(&room));
        assert!(registry.find(room.key()).is_none());
        assert_eq!(registry.room_count(), 0);
    }
}
