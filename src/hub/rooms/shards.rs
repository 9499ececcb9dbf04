//! The number of shards of a table that all cores use.

use std::num::NonZeroUsize;

/// Returns a power of two of empty shards: at least four for each core, so that two cores rarely need the same one.
pub(super) fn shards<T: Default>() -> Box<[T]> {
    let cores = std::thread::available_parallelism().map_or(4, NonZeroUsize::get);
    (0..(cores * 4).next_power_of_two()).map(|_| T::default()).collect()
}
