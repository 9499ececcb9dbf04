//! Groups that span nodes: several servers behind one load balancer act as one hub.
//!
//! [`HubBuilder::build_cluster`](crate::HubBuilder::build_cluster) makes a hub a *node* of a cluster. All nodes share a
//! [`Backplane`]: in production, `RedisBackplane` (feature `redis`). For tests of an app with several nodes, that is a
//! [`MemoryBackplane`], which can delay, lose and forget like a real engine.
//!
//! The member list of a group is the only state of the group that nodes share. The backplane stores it, and passes
//! records from node to node. It contains no rule of the protocol: each node decides with
//! [`protocol`](crate::protocol)'s pure function on its copy of the list, and the backplane applies the change if the
//! condition holds under which the decision is right.

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
pub(crate) use group::{CloseCause, ClusterGroup, OutcomeUnknown, Output, Repairs, Rules};
pub use id::{GroupTag, NodeId, Token};
pub(crate) use inbox::{Inbox, Outbound};
pub use memory::{Faults, MemoryBackplane, Outage, Snapshot, StepFault};
pub(crate) use nodes::{NodeEvent, Nodes};
pub(crate) use records::{Batch, MAX_BATCH_BYTES, Matching, Record, Side, sender};
