//! Finds the rooms of a clustered hub by the tags of their groups, because other nodes do not know the keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bus::Bus;
use super::clustered::Clustered;
use super::room::Room;
use crate::cluster::{GroupTag, Matching, Record};
use crate::hub::close::Close;
use crate::protocol::{CloseCode, GroupKey};

/// The rooms of a clustered hub. The registry inserts and removes a room under the lock of its shard.
pub(in crate::hub) struct ClusterRooms {
    bus: Arc<Bus>,
    rooms: Mutex<HashMap<GroupTag, Arc<Room>>>,
}

impl ClusterRooms {
    pub(in crate::hub) fn new(bus: Arc<Bus>) -> Self {
        Self { bus, rooms: Mutex::default() }
    }

    /// Returns what the rooms share with the driver.
    pub(in crate::hub) fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// Returns the room of a group, if this node has peers in it or still has something to tell other nodes.
    pub(in crate::hub) fn find(&self, tag: GroupTag) -> Option<Arc<Room>> {
        self.lock().get(&tag).cloned()
    }

    /// Closes the peers of a group on all other nodes.
    pub(in crate::hub) fn close_on_other_nodes(&self, key: &GroupKey, code: CloseCode) {
        let (matching, reason) = (Matching::Group(GroupTag::new(key)), code.reason().to_owned());
        self.bus.broadcast(&Record::CloseMatching { matching, code, reason });
    }

    /// Closes the peers of an identity on all other nodes.
    pub(in crate::hub) fn close_identity_on_other_nodes(&self, identity: &str, close: &Close) {
        let (matching, code) = (Matching::Identity(identity.to_owned()), close.code());
        self.bus.broadcast(&Record::CloseMatching { matching, code, reason: close.reason().to_owned() });
    }

    /// Makes the group of a new room span nodes.
    pub(super) fn insert(&self, room: Room) -> Arc<Room> {
        let tag = GroupTag::new(room.key());
        let room = Arc::new(room.clustered(Clustered::new(tag, self.bus.clone())));
        self.lock().insert(tag, room.clone());
        room
    }

    pub(super) fn remove(&self, key: &GroupKey) {
        self.lock().remove(&GroupTag::new(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GroupTag, Arc<Room>>> {
        // Each change leaves a valid table.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{NodeId, Rules};
    use crate::hub::limits::config::Config;
    use crate::hub::observability::cluster_counters::ClusterCounters;
    use crate::hub::rooms::registry::Registry;

    #[test]
    fn room_is_found_by_its_tag_until_it_is_removed() {
        let rules = Rules { eviction_min_age: Duration::ZERO, max_members: 10, max_held_bytes: 1000 };
        let bus = Bus::new(NodeId(1), rules, 1000, Duration::ZERO, ClusterCounters::new(None));
        let mut registry = Registry::new(Arc::<Config>::default(), Arc::default());
        registry.set_cluster(ClusterRooms::new(Arc::new(bus)));
        let find = |key: &GroupKey| registry.cluster().expect("a cluster").find(GroupTag::new(key));

        let keys = ["K", "L"].map(|key| GroupKey::new(key).expect("a valid key"));
        let [room, other] = keys.each_ref().map(|key| registry.acquire(key).expect("no limit is reached"));
        assert!(find(&keys[0]).is_some_and(|found| Arc::ptr_eq(&found, &room)));
        registry.release(&room);
        assert!(find(&keys[0]).is_none());
        assert!(find(&keys[1]).is_some_and(|found| Arc::ptr_eq(&found, &other)));
    }
}
