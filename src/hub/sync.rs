//! What shuttle has its own of, to go through the orders in which threads come to it: locks, and the flag beside them.
//!
//! The ids of links keep std's locks: their shards are random, which a search through all orders cannot repeat. Counts
//! that nothing waits for keep std's atomics.

#[cfg(all(test, shuttle))]
pub(super) use shuttle::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(all(test, shuttle)))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};
