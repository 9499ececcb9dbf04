//! The boundary to the engine that nodes share.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{GroupTag, NodeId, Token};
use crate::protocol::MemberId;

/// The engine that the nodes of a cluster share: member lists, an inbox for each node, and beats.
///
/// An implementation does not retry, cache or decide. Each method is one round trip to the engine. All implementations
/// pass the same conformance tests.
#[async_trait]
pub trait Backplane: Send + Sync + 'static {
    /// Applies a step to the member list of a group if its condition holds, and returns the list.
    ///
    /// # Errors
    /// The outcome is unknown: the step may have been applied, and may still be applied later.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown, as an error does.
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError>;

    /// Appends a batch to the inbox of a node. Creates the inbox if it does not exist.
    ///
    /// # Errors
    /// The outcome is unknown. The caller may send the batch again: the reader drops duplicates.
    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError>;

    /// Waits for batches in the inbox of this node, and returns them in the order in which they were appended. Returns
    /// each batch once, unless the inbox was replaced.
    ///
    /// # Errors
    /// The engine did not answer. The next call returns the batches that this call would have returned.
    ///
    /// # Cancel safety
    /// Cancel safe: a later call returns the batches that a dropped call would have returned.
    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError>;

    /// Increments the beat count of this node, declares the proposed nodes dead, and returns the state after that.
    ///
    /// `silent` has proposals: a node, and the highest count at which it is declared dead. The first beat of a node
    /// makes its count 1. A node that was declared dead stays dead: its beats change nothing.
    ///
    /// A proposal takes effect if the node's count is not above the proposed one, or if the node is absent. So 0
    /// declares a node dead only if it is absent, and `u64::MAX` does so in any case.
    ///
    /// The engine may forget a declaration that is at least one day old. Nothing names the node any more then.
    ///
    /// # Errors
    /// The outcome is unknown. A beat that was applied twice, or late, does no harm.
    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError>;

    /// Compares the configuration of the engine with what the backplane needs. Returns what an operator should change
    /// or know, one text each, for the log. Default: nothing.
    ///
    /// # Errors
    /// The engine did not answer.
    async fn check(&self) -> Result<Vec<String>, BackplaneError> {
        Ok(Vec::new())
    }
}

/// A change to the member list of a group, with the condition under which it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The version of the caller's copy of the list. `None` if it has no copy, or saw that the list is absent.
    pub seen: Option<Version>,
    /// When to apply the changes.
    pub condition: Condition,
    /// The changes, in order. Without changes, the step only reads the list.
    pub changes: Vec<Change>,
    /// The nonce of the version that the changes create: random.
    pub nonce: u64,
    /// The lineage that a list gets if these changes create it: random, or that of the members that are put back.
    pub lineage: u64,
    /// The number of members above which the list may not grow.
    pub max_members: usize,
}

impl Step {
    /// Removes a member, whatever the list is.
    pub(crate) fn removal(token: Token, nonce: u64) -> Self {
        let (condition, changes) = (Condition::Always, vec![Change::Remove(token)]);
        Self { seen: None, condition, changes, nonce, lineage: nonce, max_members: usize::MAX }
    }
}

/// When a step is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// Always.
    Always,
    /// If the list still has the version that the caller has seen. For `None`, if the list is absent.
    Unchanged,
    /// If this entry is still in the list, exactly as it is here.
    Witness(Entry),
    /// If the list has this lineage or is absent.
    LineageOrAbsent(u64),
}

/// One change of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a member at the next position. A member that is in the list keeps its position and gets the new id.
    Add {
        /// The member.
        token: Token,
        /// Its id.
        id: MemberId,
        /// Whether joiners are bound to it before other members.
        favored: bool,
    },
    /// Stores an entry as it is, and replaces the entry of the same token. If another member has the position, the
    /// entry gets the next position.
    Put(Entry),
    /// Removes a member, if it is in the list. The last removal deletes the list.
    Remove(Token),
}

/// One member in the list of a group. The order of selection is that of (not favored, position).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backplane of an app creates it")]
pub struct Entry {
    /// The member.
    pub token: Token,
    /// The number of members that were ever added to the list, at the time when this one was. Changes only if a
    /// [`Change::Put`] finds it taken.
    pub position: u64,
    /// Its id.
    pub id: MemberId,
    /// Whether joiners are bound to it before other members.
    pub favored: bool,
    /// The time at which it became a member, on the engine's clock since the Unix epoch. In milliseconds.
    pub since: Duration,
}

/// The version of a member list. Two lists with the same version are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backplane of an app creates it")]
pub struct Version {
    /// The number of members that were ever added. It is the position of the last one.
    pub count: u64,
    /// The nonce of the last step that changed the list. An engine that lost its last changes can reach the same count
    /// again, but not the same nonce.
    pub nonce: u64,
    /// The random number of the list's founding. The list ends when its last member is removed.
    pub lineage: u64,
}

/// The reply to a step: the list after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backplane of an app creates it")]
pub struct MemberList {
    /// Whether the changes were applied.
    pub result: StepResult,
    /// The version of the list. `None` if the list is absent.
    pub version: Option<Version>,
    /// All entries, in any order. `None` if the caller's copy has the version of the list.
    pub entries: Option<Vec<Entry>>,
    /// The time of the reply, on the engine's clock since the Unix epoch.
    pub now: Duration,
}

/// Whether the changes of a step were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepResult {
    /// They were applied.
    Applied,
    /// The condition did not hold, so nothing changed.
    ConditionFailed,
    /// The list would exceed `max_members`, so nothing changed.
    Full,
}

/// The reply to a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a backplane of an app creates it")]
pub struct Beat {
    /// The beat count of each node, or `None` for a node that was declared dead.
    pub nodes: BTreeMap<NodeId, Option<u64>>,
}

/// A call to a backplane whose outcome is unknown. The text has no credentials and no group keys.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackplaneError(String);

impl BackplaneError {
    /// Creates an error with a text for the log.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
