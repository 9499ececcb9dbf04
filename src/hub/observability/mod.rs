//! What an app can observe: counts ([`stats`]), groups and peers ([`snapshot`]), [`events`] and [`metrics`].

pub(super) mod events;
pub(super) mod metrics;
pub(super) mod snapshot;
pub(super) mod stats;
