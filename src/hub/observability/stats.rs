//! The counts of a hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hub::limits::Cause;
use crate::hub::limits::count::Count;

/// The counts of a hub at one moment. Each is exact, but they are read one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubStats {
    /// Joined peers, members or not.
    pub peers: usize,
    /// Groups that have at least one peer.
    pub groups: usize,
    /// Links between a joiner and a member.
    pub links: usize,
    /// Content messages relayed since the hub was created.
    pub relayed_messages: u64,
    /// Joins rejected since the hub was created, by cause.
    pub rejections: CauseCounts,
    /// Joined peers closed by a limit, a deadline or a drain since the hub was created, by cause.
    pub closes: CauseCounts,
}

/// Counts by [`Cause`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CauseCounts([u64; Cause::ALL.len()]);

impl CauseCounts {
    /// Returns the count of one cause.
    pub fn get(&self, cause: Cause) -> u64 {
        self.0[cause as usize]
    }

    /// Returns the sum over all causes.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The counters that all peers of a hub share.
#[derive(Debug, Default)]
pub(in crate::hub) struct Counters {
    /// Peers that have joined a room.
    pub(in crate::hub) peers: Arc<Count>,
    /// Admitted peers, whether they have joined a room yet or not.
    pub(in crate::hub) admitted: Arc<Count>,
    /// Connections being served, including those in a close handshake.
    pub(in crate::hub) connections: Arc<Count>,
    rejections: AtomicCauseCounts,
    closes: AtomicCauseCounts,
}

#[derive(Debug, Default)]
struct AtomicCauseCounts([AtomicU64; Cause::ALL.len()]);

impl Counters {
    pub(in crate::hub) fn count_rejection(&self, cause: Cause) {
        self.rejections.increment(cause);
    }

    pub(in crate::hub) fn count_close(&self, cause: Cause) {
        self.closes.increment(cause);
    }

    pub(in crate::hub) fn rejections(&self) -> CauseCounts {
        self.rejections.load()
    }

    pub(in crate::hub) fn closes(&self) -> CauseCounts {
        self.closes.load()
    }
}

impl AtomicCauseCounts {
    fn increment(&self, cause: Cause) {
        self.0[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn load(&self) -> CauseCounts {
        CauseCounts(self.0.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }
}
