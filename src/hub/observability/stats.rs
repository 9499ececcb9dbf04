//! The counters of a hub.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hub::limits::Cause;
use crate::hub::limits::count::Count;

/// The counters of a hub, from [`SignalingHub::stats`](crate::SignalingHub::stats).
///
/// Each count is exact, but they are not read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HubStats {
    /// The number of joined peers, members or not.
    pub peers: usize,
    /// The number of groups that have at least one peer. In a cluster, also those whose last leave the engine has not
    /// confirmed.
    pub groups: usize,
    /// The number of links between a joiner and a member.
    pub links: usize,
    /// The bytes of `max_total_outbox_bytes` that all outboxes have reserved. The first 4 KiB of each outbox need no
    /// reservation; the rest is reserved in steps of 16 KiB.
    pub reserved_outbox_bytes: usize,
    /// The number of content messages relayed since the hub was created.
    pub relayed_messages: u64,
    /// The number of requests for ICE servers answered since the hub was created.
    pub ice_configurations: u64,
    /// The joins, and requests for ICE servers, rejected since the hub was created, by cause.
    pub rejections: CauseCounts,
    /// The joined peers that a limit, a deadline or a drain closed since the hub was created, by cause.
    pub closes: CauseCounts,
}

/// A count for each [`Cause`].
///
/// The `Debug` output lists only the counts above 0, and so does the map that serde serializes it as.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
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

    fn above_0(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL.iter().map(|&cause| (cause, self.get(cause))).filter(|(_, count)| *count > 0)
    }
}

impl fmt::Debug for CauseCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (cause, count) in self.above_0() {
            // Without the quotes of a text.
            map.entry(&format_args!("{cause}"), &count);
        }
        map.finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for CauseCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.above_0())
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
    pub(in crate::hub) ice_configurations: AtomicU64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_cause_counts_lists_counts_above_0_by_name() {
        let counters = Counters::default();
        assert_eq!(format!("{:?}", counters.closes()), "{}");
        counters.count_close(Cause::OutboxTimeout);
        counters.count_close(Cause::MaxPeers);
        counters.count_close(Cause::MaxPeers);
        assert_eq!(format!("{:?}", counters.closes()), "{max_peers: 2, outbox_timeout: 1}");
    }
}
