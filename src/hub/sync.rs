//! Locks and flags: those of std, or those of shuttle in its tests, which explore the interleavings of threads.
//!
//! Link ids use std's locks in every build: their shards are random, so an exhaustive search could not repeat a run.
//! Counters that no control flow depends on use std's atomics.

#[cfg(all(test, shuttle))]
pub(super) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(all(test, shuttle)))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

#[cfg(test)]
thread_local! {
    static LOCK_COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts a lock of a room, or of a shard of the registry. Tests bound how many an operation takes.
#[cfg(test)]
pub(super) fn count_lock() {
    LOCK_COUNT.with(|count| count.set(count.get() + 1));
}

/// Returns how many of these locks this thread has taken.
#[cfg(test)]
pub(super) fn lock_count() -> usize {
    LOCK_COUNT.with(std::cell::Cell::get)
}

/// Lets shuttle switch threads before an effect that other threads observe, but that takes none of these locks.
pub(super) fn switch_point() {
    #[cfg(all(test, shuttle))]
    shuttle::thread::yield_now();
}
