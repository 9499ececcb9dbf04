//! The largest rooms of a registry, found in one pass with bounded memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::room::Room;

/// The rooms with the most peers among those offered, at most a given number. Of rooms of equal size, it keeps those
/// with the lowest hash of their keys.
pub(in crate::hub) struct LargestRooms {
    max: usize,
    kept: BTreeMap<(Reverse<usize>, u64), Arc<Room>>,
}

impl LargestRooms {
    pub(in crate::hub) fn new(max: usize) -> Self {
        Self { max, kept: BTreeMap::new() }
    }

    /// Keeps a room if it is among the largest. `hash` is not called for a room that is smaller than all kept rooms.
    pub(super) fn offer(&mut self, room: &Arc<Room>, peers: usize, hash: impl FnOnce() -> u64) {
        if self.kept.len() >= self.max {
            let smallest = self.kept.last_key_value();
            if smallest.is_none_or(|((Reverse(least), _), _)| peers < *least) {
                return;
            }
        }
        self.kept.insert((Reverse(peers), hash()), room.clone());
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

    /// Offers rooms of these sizes, each with its size as its hash. Returns the kept sizes, the largest number of rooms
    /// kept at a time, and the number of computed hashes.
    fn offer(max: usize, sizes: impl IntoIterator<Item = usize>) -> (Vec<u64>, usize, usize) {
        let room = Arc::new(Room::new(GroupKey::new("K").expect("a valid key"), 0, Arc::default(), Arc::default()));
        let (mut largest, mut most_kept, mut hashes) = (LargestRooms::new(max), 0, 0);
        for size in sizes {
            largest.offer(&room, size, || {
                hashes += 1;
                size as u64
            });
            most_kept = most_kept.max(largest.kept.len());
        }
        (largest.into_rooms().map(|(hash, _)| hash).collect(), most_kept, hashes)
    }

    #[test]
    fn largest_rooms_are_kept_in_any_order_of_offers() {
        for sizes in [vec![1, 2, 3, 4, 5], vec![5, 4, 3, 2, 1], vec![3, 5, 1, 4, 2]] {
            assert_eq!(offer(2, sizes.iter().copied()).0, [5, 4], "{sizes:?}");
        }
        assert_eq!(offer(9, [1, 2]).0, [2, 1]);
        assert_eq!(offer(0, [1, 2]).1, 0);
    }

    #[test]
    fn memory_and_hashes_are_bounded_by_the_number_of_kept_rooms() {
        let (kept, most_kept, hashes) = offer(200, (1..=100_000).rev());
        assert_eq!((kept.len(), most_kept, hashes), (200, 200, 200));
        let (kept, most_kept, _) = offer(200, 1..=100_000);
        assert_eq!((kept.len(), most_kept), (200, 200));
    }
}
