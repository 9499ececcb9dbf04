//! The groups of a hub.
//!
//! [`registry`] maps each key to its room. A [`room`] is one group behind one lock. It pushes messages into the
//! [`outbox`] of each peer that they are for. [`link_ids`] allocates the ids of links. [`shards`] sizes the tables.

mod link_ids;
pub(super) mod outbox;
pub(super) mod registry;
pub(super) mod room;
mod shards;
