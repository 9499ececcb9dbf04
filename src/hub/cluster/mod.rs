//! Makes a hub a node of a cluster.
//!
//! - [`config`] has the settings.
//! - [`driver`] contains the future that the app spawns. It runs the loops below, which share a [`node`].
//! - [`steps`] sends the steps of the groups to the backplane. [`sends`] sends records to other nodes, and [`receives`]
//!   applies those of other nodes. [`beats`] finds out which nodes are alive. [`audits`] compares the lists in the
//!   backplane with the members of this node. [`strays`] removes entries of groups in which this node has no peer.
//!
//! What a room does in a cluster is in `rooms/clustered.rs`. The rules are in [`crate::cluster`].

mod audits;
mod backoff;
mod beats;
pub(super) mod config;
pub(super) mod driver;
mod node;
mod receives;
mod sends;
mod steps;
mod strays;
#[cfg(test)]
mod tests;
