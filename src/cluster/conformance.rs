//! The rules that every backplane follows, as tests: see the documentation of `cluster/memory/engine.rs` for the rules.
//!
//! Groups and nodes are random, so the tests can share one engine with others.

pub(super) mod inboxes;
pub(super) mod lists;
pub(super) mod nodes;
pub(super) mod random;

use super::{Backplane, Change, Condition, Entry, GroupTag, MemberList, NodeId, Step, StepResult, Token};
use crate::protocol::{MemberId, PeerId};

/// Defines a test for each rule. Takes the attribute of a test, and an expression: a future of a backplane, or of `None`
/// to skip the tests.
macro_rules! conformance_tests {
    (#[$test:meta] $connect:expr) => {
        conformance_tests! {
            #[$test] $connect;
            lists:
            condition_is_decided_before_the_changes
            step_whose_condition_fails_changes_nothing
            unchanged_needs_the_version_that_was_seen
            unchanged_without_a_version_needs_an_absent_list
            witness_needs_an_entry_that_is_equal_in_every_field
            lineage_or_absent_needs_one_of_them
            added_members_have_increasing_positions_and_the_time_of_the_step
            first_member_founds_the_list_with_the_lineage_of_the_step
            repeated_add_changes_the_id_only
            put_entry_is_stored_as_it_is
            put_entry_raises_the_count_to_its_position
            put_entry_whose_position_is_taken_gets_the_next_one
            put_entry_replaces_that_of_its_member
            put_entry_founds_an_absent_list
            time_of_a_put_entry_is_in_whole_milliseconds
            removed_position_is_not_assigned_again
            last_removal_deletes_the_list
            add_after_the_last_removal_founds_a_new_list
            add_before_the_last_removal_keeps_the_lineage
            removal_of_an_absent_member_has_no_effect
            step_that_exceeds_the_maximum_changes_nothing
            step_is_full_by_its_last_list_only
            list_above_the_maximum_can_change_and_shrink
            condition_is_decided_before_the_maximum
            each_change_has_the_nonce_of_its_step
            changes_without_an_effect_keep_the_version
            one_change_with_an_effect_changes_the_version
            current_copy_is_not_sent_again
            absent_list_has_no_version_and_no_entries
            extreme_numbers_are_stored_exactly
            large_positions_are_counted_exactly
            groups_are_separate;
            nodes:
            beat_increments_the_count_of_its_node
            node_that_stopped_at_the_proposed_count_is_dead
            node_that_beat_since_the_proposed_count_is_alive
            node_whose_count_went_back_is_dead
            absent_node_can_be_declared_dead
            beat_increments_before_it_proposes
            dead_node_stays_dead;
            inboxes:
            batches_arrive_in_order_and_once
            waiting_reader_receives_a_batch
            dropped_call_loses_no_batch
            inboxes_are_separate
            bytes_arrive_unchanged;
            random:
            random_calls_have_the_replies_of_the_memory_backplane;
        }
    };
    (#[$test:meta] $connect:expr; $($module:ident: $($rule:ident)*;)*) => {
        $($(
            #[$test]
            async fn $rule() {
                if let Some(backplane) = $connect.await {
                    crate::cluster::conformance::$module::$rule(&backplane).await;
                }
            }
        )*)*
    };
}
pub(super) use conformance_tests;

/// A member list of a backplane that no other test uses.
struct Group<'a, B> {
    backplane: &'a B,
    tag: GroupTag,
}

impl<'a, B: Backplane> Group<'a, B> {
    fn new(backplane: &'a B) -> Self {
        Self { backplane, tag: GroupTag::from_bytes(fastrand::u128(..).to_be_bytes()) }
    }

    /// Applies a step and checks the form of the reply.
    async fn try_step(&self, step: Step) -> MemberList {
        let seen = step.seen;
        let mut list = self.backplane.step(self.tag, step).await.expect("the engine is reachable");
        assert_eq!(list.entries.is_none(), list.version.is_some() && list.version == seen, "{list:?}");
        assert_eq!(list.now.subsec_nanos() % 1_000_000, 0, "whole milliseconds");
        if let Some(entries) = &mut list.entries {
            entries.sort_by_key(|entry| entry.position);
            assert_eq!(entries.is_empty(), list.version.is_none());
        }
        list
    }

    /// Applies a step that must be applied.
    async fn step(&self, step: Step) -> MemberList {
        let list = self.try_step(step).await;
        assert_eq!(list.result, StepResult::Applied);
        list
    }

    /// Applies changes without a condition.
    async fn change(&self, changes: &[Change]) -> MemberList {
        self.step(step(changes)).await
    }

    async fn look(&self) -> MemberList {
        self.change(&[]).await
    }
}

/// Creates a step without a condition.
fn step(changes: &[Change]) -> Step {
    Step {
        seen: None,
        condition: Condition::Always,
        changes: changes.to_vec(),
        nonce: fastrand::u64(..),
        lineage: fastrand::u64(..),
        max_members: 1000,
    }
}

fn conditional(condition: Condition, changes: &[Change]) -> Step {
    Step { condition, ..step(changes) }
}

/// The member with this number, of one of two nodes.
fn member(n: u64) -> Token {
    Token { node: NodeId(1 + n % 2), peer: PeerId(n) }
}

fn add(n: u64, id: u32) -> Change {
    Change::Add { token: member(n), id: MemberId(id), favored: false }
}

fn remove(n: u64) -> Change {
    Change::Remove(member(n))
}

fn random_node() -> NodeId {
    NodeId(fastrand::u64(..))
}

impl MemberList {
    fn all(&self) -> &[Entry] {
        self.entries.as_deref().expect("the caller has no copy")
    }

    /// Returns the ids of the members, by position.
    fn ids(&self) -> Vec<u32> {
        self.all().iter().map(|entry| entry.id.0).collect()
    }

    fn positions(&self) -> Vec<u64> {
        self.all().iter().map(|entry| entry.position).collect()
    }

    fn head(&self) -> super::Version {
        self.version.expect("the list exists")
    }
}
