//! The groups of a hub.
//!
//! [`registry`] maps each key to its room. A [`room`] is one group behind one lock. It pushes messages into the
//! [`outbox`] of each receiver. An outbox is a [`frame_queue`] with limits, and reserves memory of the hub's
//! [`outbox_budget`]. [`peer_index`] and [`identity_index`] find the outboxes of peers without a search of
//! the rooms. [`largest`] finds the largest
//! rooms. [`link_ids`] allocates the ids of links. [`shards`] sizes the tables. In a cluster, a room is `clustered`: its group spans nodes, and it reaches them over the `bus`.

#[cfg(feature = "cluster")]
pub(super) mod bus;
#[cfg(feature = "cluster")]
pub(super) mod cluster_rooms;
#[cfg(feature = "cluster")]
pub(super) mod clustered;
pub(super) mod frame_queue;
pub(super) mod identity_index;
pub(super) mod largest;
mod link_ids;
pub(super) mod outbox;
pub(super) mod outbox_budget;
pub(super) mod peer_index;
pub(super) mod registry;
pub(super) mod room;
#[cfg(feature = "cluster")]
mod room_in_cluster;
mod shards;
