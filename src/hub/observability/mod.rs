//! What an app can observe: counts ([`stats`], `cluster_stats`), groups and peers ([`snapshot`]), [`events`] over an
//! [`event_bus`], [`metrics`], and the log lines that an operator needs ([`limit_log`], [`setup_warnings`]). Logs show
//! the [`key_hash`] of a group.

#[cfg(feature = "cluster")]
pub(super) mod cluster_counters;
#[cfg(feature = "cluster")]
pub(super) mod cluster_metrics;
#[cfg(feature = "cluster")]
pub(super) mod cluster_stats;
pub(super) mod event_bus;
pub(super) mod events;
pub(super) mod key_hash;
pub(super) mod limit_log;
pub(super) mod metrics;
#[cfg(feature = "serde")]
mod serialize;
#[cfg(feature = "hyper")]
pub(super) mod setup_warnings;
pub(super) mod snapshot;
pub(super) mod stats;
