//! The flag of a hub that is shutting down.

use std::sync::atomic::Ordering;

use crate::hub::sync::AtomicBool;

/// Whether a hub is draining. Once set, the flag stays set.
///
/// A drain must close every peer, including a peer that joins while the drain starts. Therefore each side first
/// publishes its own step and then looks for the step of the other:
///
/// - The drain calls [`Draining::start`], and then collects the peers of all rooms.
/// - A peer enters its room, and then calls [`Draining::is_set`]. If the flag is set, the peer closes itself.
///
/// Both sides lock the registry's shard and the room, and one of them locks first. If that is the peer, the drain
/// collects it. If it is the drain, the flag was set before, and the peer sees it. The locks order the accesses, so the
/// flag needs no stronger ordering than `Relaxed`. It uses `SeqCst` because shuttle models no other.
#[derive(Debug, Default)]
pub(in crate::hub) struct Draining(AtomicBool);

impl Draining {
    /// Sets the flag.
    pub(in crate::hub) fn start(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns whether [`Draining::start`] was called.
    pub(in crate::hub) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
