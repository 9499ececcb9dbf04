//! Groups that span nodes: several servers behind one load balancer act as one hub.
//!
//! The member list of a group is the only state that nodes share. A [`Backplane`] stores it and passes records from node
//! to node. It contains no rule of the protocol: each node decides with [`protocol`](crate::protocol)'s pure function on
//! its copy of the list, and the backplane applies the change if the list is still the one that the node has seen.

#![cfg_attr(not(test), expect(dead_code, reason = "the hub does not use the parts yet"))]
#![expect(unreachable_pub, unused_imports, reason = "the hub does not use the parts yet")]

mod backplane;
#[cfg(test)]
mod conformance;
mod group;
mod id;
mod inbox;
mod members;
mod memory;
mod nodes;
mod records;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "redis")]
pub use self::redis::{RedisBackplane, RedisBackplaneBuilder, RedisConfigError};
pub use backplane::{Backplane, BackplaneError, Beat, Change, Condition, Entry, MemberList, Step, StepResult, Version};
pub use id::{GroupTag, NodeId, Token};
pub(crate) use inbox::{Inbox, Outbound, OutboxFull, Received};
pub use memory::{Faults, MemoryBackplane, Outage, Snapshot, StepFault};
pub(crate) use nodes::{BeatCall, NodeEvent, Nodes};
pub(crate) use records::{Batch, Matching, Record, RecordError, Side};
