//! Which keys have a room.

use std::collections::hash_map::{self, HashMap, RandomState};
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::room::Room;
use crate::hub::admission::rejection::Rejection;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::count::{Count, CountGuard};
use crate::hub::sync::Mutex;
use crate::protocol::{CloseCode, GroupKey};

/// The rooms of a hub, spread over shards so that cores do not wait for each other.
#[derive(Debug)]
pub(in crate::hub) struct Registry {
    shards: Box<[Shard]>,
    hasher: RandomState,
    /// Rooms of all shards.
    count: Arc<Count>,
}

/// A cache line or two of its own, so that counting in one shard does not slow another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    rooms: Mutex<HashMap<GroupKey, Entry>>,
    relayed: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    room: Arc<Room>,
    /// Seats taken or being taken. Under the shard's lock, so that no room goes while somebody enters.
    seats: usize,
    _count: CountGuard,
}

/// How many keys a shard keeps room for.
const KEPT_CAPACITY: usize = 64;

impl Registry {
    /// The room of a key, if there is one.
    pub(in crate::hub) fn find(&self, key: &GroupKey) -> Option<Arc<Room>> {
        let rooms = self.shards[self.shard(key)].rooms.lock().expect("nothing panics under this lock");
        rooms.get(key).map(|entry| entry.room.clone())
    }

    /// What stands for a key in a log: the same for as long as the hub lives, and of no use to anybody else.
    pub(in crate::hub) fn hash(&self, key: &GroupKey) -> u64 {
        self.hasher.hash_one(key)
    }

    fn shard(&self, key: &GroupKey) -> usize {
        self.hash(key) as usize & (self.shards.len() - 1)
    }

    /// The room of a key, made if there is none and there may be one more. Each room that this gives is paid back
    /// by one [`Registry::exit`].
    ///
    /// `created` and `gone` are called under the shard's lock, so that who hears of both hears of them in their order.
    pub(in crate::hub) fn acquire(
        &self,
        key: &GroupKey,
        config: &Config,
        created: impl FnOnce(),
    ) -> Result<Arc<Room>, Rejection> {
        let shard = self.shard(key);
        let mut rooms = self.shards[shard].rooms.lock().expect("nothing panics under this lock");
        let entry = match rooms.entry(key.clone()) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                let Some(count) = CountGuard::try_new(&self.count, config.max_groups) else {
                    let reason = format!("group limit reached ({})", config.max_groups);
                    return Err(Rejection::by(Cause::MaxGroups, CloseCode::TryAgainLater, reason));
                };
                created();
                entry.insert(Entry {
                    room: Room::new(key.clone(), shard, config.eviction_min_age).into(),
                    seats: 0,
                    _count: count,
                })
            }
        };
        if entry.seats >= config.max_peers_per_group {
            let reason = format!("peer limit of the group reached ({})", config.max_peers_per_group);
            return Err(Rejection::by(Cause::MaxPeersPerGroup, CloseCode::TryAgainLater, reason));
        }
        entry.seats += 1;
        Ok(entry.room.clone())
    }

    /// Gives back one entry; an empty room is gone.
    pub(in crate::hub) fn release(&self, room: &Room, gone: impl FnOnce()) {
        let mut rooms = self.shards[room.shard()].rooms.lock().expect("nothing panics under this lock");
        let entry = rooms.get_mut(room.key()).expect("a room stays for as long as somebody is in it");
        entry.seats -= 1;
        if entry.seats == 0 {
            gone();
            rooms.remove(room.key());
            shrink(&mut rooms);
        }
    }

    pub(in crate::hub) fn count_relayed_message(&self, room: &Room) {
        self.shards[room.shard()].relayed.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::hub) fn relayed_messages(&self) -> u64 {
        self.shards.iter().map(|shard| shard.relayed.load(Ordering::Relaxed)).sum()
    }

    pub(in crate::hub) fn rooms(&self) -> usize {
        self.count.get()
    }

    /// All rooms that there are now. Locks no two shards at a time.
    pub(in crate::hub) fn snapshot(&self) -> Vec<Arc<Room>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let rooms = shard.rooms.lock().expect("nothing panics under this lock");
            all.extend(rooms.values().map(|entry| entry.room.clone()));
        }
        all
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self { shards: shards(), hasher: RandomState::new(), count: Arc::default() }
    }
}

/// Gives memory back after a rush of keys, and not so often that the next one pays for it.
fn shrink(rooms: &mut HashMap<GroupKey, Entry>) {
    if rooms.capacity() > 4 * rooms.len().max(KEPT_CAPACITY) {
        rooms.shrink_to(2 * rooms.len());
    }
}

/// A power of two of them: four for each core, so that two cores seldom want the same one.
pub(in crate::hub) fn shards<T: Default>() -> Box<[T]> {
    let cores = std::thread::available_parallelism().map_or(4, NonZeroUsize::get);
    (0..(cores * 4).next_power_of_two()).map(|_| T::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rush_of_keys_leaves_no_memory_behind() {
        let (registry, config) = (Registry::default(), Config { max_groups: usize::MAX, ..Config::default() });
        let acquire = |n: u32| registry.acquire(&GroupKey::new(&n.to_string()).expect("a key"), &config, || {});
        let rooms: Vec<_> = (0..100_000).map(|n| acquire(n).expect("there is room for all")).collect();
        let mut gone = 0;
        rooms.iter().for_each(|room| registry.release(room, || gone += 1));
        assert_eq!(gone, 100_000);
        let capacity = |shard: &Shard| shard.rooms.lock().expect("nothing panicked").capacity();
        let kept = registry.shards.iter().map(capacity).max().expect("there are shards");
        assert!(kept <= 8 * KEPT_CAPACITY, "{kept}");
    }
}
