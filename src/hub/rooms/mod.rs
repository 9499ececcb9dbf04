//! The groups of a hub: which keys have a room, and what happens in each room under its lock.

pub(super) mod link_ids;
pub(super) mod outbox;
pub(super) mod registry;
pub(super) mod room;
