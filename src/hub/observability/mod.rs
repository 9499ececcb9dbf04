//! What the owner of a hub sees: counts, snapshots, events and metrics.

pub(super) mod events;
pub(super) mod metrics;
pub(super) mod snapshot;
pub(super) mod stats;
