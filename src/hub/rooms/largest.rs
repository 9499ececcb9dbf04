//! The largest rooms of a registry, found in one pass with bounded memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::room::Room;

/// The rooms with the most peers among those added, at most a given number. Of rooms of equal size, it keeps those
/// with the lowest hash of their keys.
pub(in crate::hub) struct LargestRooms {
    max: usize,
    kept: BTreeMap<(Reverse<usize>, u64), Arc<Room>>,
}

impl LargestRooms {
    pub(in crate::hub) fn new(max: usize) -> Self {
        Self { max, kept: BTreeMap::new() }
    }

    /// Adds a room, and keeps it if it is among the largest.
    pub(super) fn insert(&mut self, room: &Arc<Room>, peers: usize, hash: u64) {
        let rank = (Reverse(peers), hash);
        if self.kept.len() >= self.max && self.kept.last_key_value().is_none_or(|(last, _)| *last < rank) {
            return;
        }
        self.kept.insert(rank, room.clone());
        if self.kept.len() > self.max {
            self.kept.pop_last();
        }
    }

    /// Returns the rooms with the hashes of their keys, the largest first.
    pub(in crate::hub) fn into_rooms(self) -> impl ExactSizeIterator<Item = (u64, Arc<Room>)> {
        self.kept.into_iter().map(|((_, hash), room)| (hash, room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::GroupKey;

    /// Adds rooms of these sizes, each with its size as its hash. Returns the kept sizes, and the largest number of
    /// rooms kept at a time.
    fn keep(max: usize, sizes: impl IntoIterator<Item = usize>) -> (Vec<u64>, usize) {
        let (room, mut largest, mut most_kept) = (room(), LargestRooms::new(max), 0);
        for size in sizes {
            largest.insert(&room, size, size as u64);
            most_kept = most_kept.max(largest.kept.len());
        }
        (largest.into_rooms().map(|(hash, _)| hash).collect(), most_kept)
    }

    fn room() -> Arc<Room> {
        let key = GroupKey::new("K").expect("a valid key");
        Arc::new(Room::new(key, 0, Arc::default(), Arc::default()))
    }

    #[test]
    fn largest_rooms_are_kept_whatever_the_order() {
        for sizes in [vec![1, 2, 3, 4, 5], vec![5, 4, 3, 2, 1], vec![3, 5, 1, 4, 2]] {
            assert_eq!(keep(2, sizes.iter().copied()).0, [5, 4], "{sizes:?}");
        }
        assert_eq!(keep(9, [1, 2]).0, [2, 1]);
        assert_eq!(keep(0, [1, 2]).1, 0);
    }

    #[test]
    fn of_equal_rooms_those_with_the_lowest_hashes_are_kept() {
        let (room, mut largest) = (room(), LargestRooms::new(2));
        [3, 1, 4, 2].into_iter().for_each(|hash| largest.insert(&room, 1, hash));
        assert_eq!(largest.into_rooms().map(|(hash, _)| hash).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn number_of_kept_rooms_never_exceeds_the_maximum() {
        assert_eq!(keep(200, 1..=10_000).1, 200);
        assert_eq!(keep(200, (1..=10_000).rev()).1, 200);
    }
}
