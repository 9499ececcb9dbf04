//! Locks and flags: those of std, or those of shuttle in its tests, which explore the interleavings of threads.
//!
//! Link ids use std's locks in every build: their shards are random, so an exhaustive search could not repeat a run.
//! Counters that no control flow depends on use std's atomics.

#[cfg(all(test, shuttle))]
pub(super) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(all(test, shuttle)))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

/// Lets shuttle switch threads before an effect that other threads observe, but that takes none of these locks.
pub(super) fn switch_point() {
    #[cfg(all(test, shuttle))]
    shuttle::thread::yield_now();
}
