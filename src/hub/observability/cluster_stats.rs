//! The counters of a hub that is a node of a cluster.

use std::time::Duration;

#[cfg(feature = "serde")]
use super::serialize;
use crate::cluster::{MemberList, OutcomeUnknown, StepResult};

/// The counters of a hub that is a node of a cluster, from
/// [`SignalingHub::cluster_stats`](crate::SignalingHub::cluster_stats).
///
/// They describe this node. Counts start with the hub, and are not read at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ClusterStats {
    /// The number of nodes that were alive at the last successful beat, including this one. 0 before the first one, and
    /// after the driver has ended.
    pub nodes: usize,
    /// The time since the start of the last successful beat. `None` before the first one.
    #[cfg_attr(feature = "serde", serde(rename = "beat_age_seconds", serialize_with = "serialize::optional_seconds"))]
    pub beat_age: Option<Duration>,
    /// The steps that the engine has applied, or that only read a member list.
    pub steps_applied: u64,
    /// The steps that the engine did not apply, because another node had changed the list. The node sends another one.
    pub steps_condition_failed: u64,
    /// The steps that the engine did not apply, because of `max_members_per_group`.
    pub steps_full: u64,
    /// The steps without a reply. The engine may have applied them.
    pub steps_unknown: u64,
    /// The groups whose next step waits for the engine, in flight or not.
    pub steps_waiting: usize,
    /// The records that the engine has accepted for other nodes.
    pub records_sent: u64,
    /// The records of other nodes, without duplicates.
    pub records_received: u64,
    /// How often records of another node were missing or unreadable. Each time, all links with that node ended.
    pub gaps: u64,
    /// How often another node reported that it missed records of this node. Each time, all links with that node ended.
    pub resets: u64,
    /// The steps that put members of this node back into a list that had lost them.
    pub repairs_put_back: u64,
    /// The entries that this node removed from lists because they had no peer: usually members of dead nodes.
    pub repairs_removed: u64,
    /// The members of this node that were closed with 4744, because their list was founded anew without them: a peer of
    /// another node evicted them, or the engine lost the list.
    pub repairs_other_lineage: u64,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum StepOutcome {
    Applied,
    ConditionFailed,
    Full,
    Unknown,
}

impl StepOutcome {
    /// All outcomes, in the order of their numbers.
    pub(super) const ALL: [Self; 4] = [Self::Applied, Self::ConditionFailed, Self::Full, Self::Unknown];

    pub(in crate::hub) fn of(reply: &Result<MemberList, OutcomeUnknown>) -> Self {
        match reply.as_ref().map(|list| list.result) {
            Ok(StepResult::Applied) => Self::Applied,
            Ok(StepResult::ConditionFailed) => Self::ConditionFailed,
            Ok(StepResult::Full) => Self::Full,
            Err(OutcomeUnknown) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_an_outcome_is_its_position_in_the_list() {
        for (position, outcome) in StepOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position);
        }
    }
}
