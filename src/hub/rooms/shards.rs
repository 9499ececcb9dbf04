//! The number of shards of a table that all cores use, and the memory that a shard keeps.

use std::num::NonZeroUsize;

/// Returns a power of two of empty shards: at least four for each core, so that two cores rarely need the same one.
pub(super) fn shards<T: Default>() -> Box<[T]> {
    let cores = std::thread::available_parallelism().map_or(4, NonZeroUsize::get);
    (0..(cores * 4).next_power_of_two()).map(|_| T::default()).collect()
}

/// Returns the capacity to which a shard must shrink after a removal. `None` if it keeps its capacity: always up to
/// `4 * kept` entries, and otherwise while a quarter of it is in use, so that the next burst does not pay for it.
pub(super) fn shrunk_capacity(len: usize, capacity: usize, kept: usize) -> Option<usize> {
    (capacity > 4 * len.max(kept)).then_some(2 * len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_shrinks_to_twice_its_entries_when_less_than_a_quarter_of_it_is_in_use() {
        for (len, capacity, expected) in
            [(0, 40, None), (0, 41, Some(0)), (9, 41, Some(18)), (11, 44, None), (11, 45, Some(22)), (100, 100, None)]
        {
            assert_eq!(shrunk_capacity(len, capacity, 10), expected, "{len} of {capacity}");
        }
    }

    #[test]
    fn number_of_shards_is_a_power_of_two_and_at_least_four_for_each_core() {
        let count = shards::<()>().len();
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        assert!(count >= 4 * cores && count.is_power_of_two(), "{count}");
    }
}
