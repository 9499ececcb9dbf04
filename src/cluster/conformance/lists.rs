//! The rules of member lists.

use std::time::Duration;

use super::{Group, add, conditional, member, remove, step};
use crate::cluster::{Backplane, Change, Condition, Entry, NodeId, Step, StepResult, Token, Version};
use crate::protocol::{MemberId, PeerId};

/// An entry that no add creates.
fn entry(n: u64, position: u64) -> Entry {
    Entry { token: member(n), position, id: MemberId(5), favored: true, since: Duration::from_millis(1_234_567) }
}

pub(crate) async fn condition_is_decided_before_the_changes(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let first = group.change(&[add(1, 10)]).await;
    let witness = Condition::Witness(first.all()[0]);
    let list = group.step(conditional(witness, &[remove(1), add(2, 20)])).await;
    assert_eq!(list.ids(), [20]);
    let absent = group.try_step(conditional(Condition::Unchanged, &[remove(2), add(3, 30)])).await;
    assert_eq!(absent.result, StepResult::ConditionFailed);
    let lineage = Condition::LineageOrAbsent(list.head().lineage + 1);
    assert_eq!(group.try_step(conditional(lineage, &[remove(2)])).await.result, StepResult::ConditionFailed);
}

pub(crate) async fn step_whose_condition_fails_changes_nothing(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let before = group.change(&[add(1, 10)]).await;
    let failed = group.try_step(conditional(Condition::Unchanged, &[remove(1), add(2, 20)])).await;
    assert_eq!(failed.result, StepResult::ConditionFailed);
    assert_eq!((failed.version, failed.entries), (before.version, before.entries), "the reply has the list");
    assert_eq!(group.look().await.version, before.version);
}

pub(crate) async fn unchanged_needs_the_version_that_was_seen(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let seen = group.change(&[add(1, 10)]).await.head();
    let others = [
        Version { count: seen.count + 1, ..seen },
        Version { nonce: seen.nonce ^ 1, ..seen },
        Version { lineage: seen.lineage ^ 1, ..seen },
    ];
    for other in others {
        let step = Step { seen: Some(other), ..conditional(Condition::Unchanged, &[add(2, 20)]) };
        assert_eq!(group.try_step(step).await.result, StepResult::ConditionFailed, "{other:?}");
    }
    let step = Step { seen: Some(seen), ..conditional(Condition::Unchanged, &[add(2, 20)]) };
    assert_eq!(group.step(step.clone()).await.ids(), [10, 20]);
    assert_eq!(group.try_step(step).await.result, StepResult::ConditionFailed, "the step itself changed the list");
}

pub(crate) async fn unchanged_without_a_version_needs_an_absent_list(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let step = conditional(Condition::Unchanged, &[add(1, 10)]);
    let seen = group.step(step.clone()).await.version;
    assert_eq!(group.try_step(step.clone()).await.result, StepResult::ConditionFailed);
    group.change(&[remove(1)]).await;
    let stale = Step { seen, ..step.clone() };
    assert_eq!(group.try_step(stale).await.result, StepResult::ConditionFailed, "the list is absent");
    group.step(step).await;
}

pub(crate) async fn witness_needs_an_entry_that_is_equal_in_every_field(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let absent = conditional(Condition::Witness(entry(1, 1)), &[add(1, 10)]);
    assert_eq!(group.try_step(absent).await.result, StepResult::ConditionFailed);
    let list = group.change(&[Change::Put(entry(1, 3)), Change::Put(entry(2, 4))]).await;
    let witness = list.all()[0];
    for other in [
        Entry { token: Token { peer: PeerId(99), ..witness.token }, ..witness },
        Entry { token: Token { node: NodeId(99), ..witness.token }, ..witness },
        Entry { position: 2, ..witness },
        Entry { id: MemberId(6), ..witness },
        Entry { favored: false, ..witness },
        Entry { since: witness.since + Duration::from_millis(1), ..witness },
    ] {
        let step = conditional(Condition::Witness(other), &[remove(2)]);
        assert_eq!(group.try_step(step).await.result, StepResult::ConditionFailed, "{other:?}");
    }
    group.step(conditional(Condition::Witness(witness), &[remove(2)])).await;
    group.step(conditional(Condition::Witness(witness), &[add(3, 30)])).await;
}

pub(crate) async fn lineage_or_absent_needs_one_of_them(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let founding = Step { lineage: 7, ..conditional(Condition::LineageOrAbsent(5), &[add(1, 10)]) };
    assert_eq!(group.step(founding).await.head().lineage, 7, "the list was absent");
    let step = |lineage| conditional(Condition::LineageOrAbsent(lineage), &[add(2, 20)]);
    assert_eq!(group.try_step(step(5)).await.result, StepResult::ConditionFailed);
    group.step(step(7)).await;
}

pub(crate) async fn added_members_have_increasing_positions_and_the_time_of_the_step(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let favored = Change::Add { token: member(3), id: MemberId(30), favored: true };
    let first = group.change(&[add(9, 10), favored]).await;
    let list = group.change(&[add(1, 10)]).await;
    let entry =
        |n, position, id, favored, since| Entry { token: member(n), position, id: MemberId(id), favored, since };
    let expected =
        [entry(9, 1, 10, false, first.now), entry(3, 2, 30, true, first.now), entry(1, 3, 10, false, list.now)];
    assert_eq!((list.all(), list.head().count), (&expected[..], 3));
}

pub(crate) async fn first_member_founds_the_list_with_the_lineage_of_the_step(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let first = Step { nonce: 1, lineage: 2, ..step(&[add(1, 10)]) };
    assert_eq!(group.step(first).await.version, Some(Version { count: 1, nonce: 1, lineage: 2 }));
    let second = Step { nonce: 3, lineage: 4, ..step(&[add(2, 20)]) };
    assert_eq!(group.step(second).await.version, Some(Version { count: 2, nonce: 3, lineage: 2 }));
}

pub(crate) async fn repeated_add_changes_the_id_only(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let before = group.change(&[Change::Put(entry(1, 1)), add(2, 20)]).await;
    let list = group.change(&[add(1, 11)]).await;
    let renamed = Entry { id: MemberId(11), ..entry(1, 1) };
    assert_eq!(list.all(), [renamed, before.all()[1]]);
    assert_eq!(list.head().count, before.head().count);
}

pub(crate) async fn put_entry_is_stored_as_it_is(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let entries = [Entry { favored: false, ..entry(2, 2) }, entry(1, 7)];
    group.change(&entries.map(Change::Put)).await;
    assert_eq!(group.look().await.all(), entries);
}

pub(crate) async fn put_entry_raises_the_count_to_its_position(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    assert_eq!(group.change(&[add(1, 10), Change::Put(entry(2, 7)), add(3, 30)]).await.positions(), [1, 7, 8]);
    assert_eq!(group.change(&[Change::Put(entry(4, 3)), add(5, 50)]).await.positions(), [1, 3, 7, 8, 9]);
}

pub(crate) async fn put_entry_whose_position_is_taken_gets_the_next_one(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let list = group.change(&[add(1, 10), add(2, 20), Change::Put(entry(3, 1)), Change::Put(entry(1, 1))]).await;
    assert_eq!(
        list.all().iter().map(|entry| (entry.position, entry.token.peer.0)).collect::<Vec<_>>(),
        [(1, 1), (2, 2), (3, 3)]
    );
}

pub(crate) async fn put_entry_replaces_that_of_its_member(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let before = group.change(&[add(1, 10), add(2, 20)]).await;
    let list = group.change(&[Change::Put(entry(1, 1))]).await;
    assert_eq!(list.all(), [entry(1, 1), before.all()[1]]);
    assert_ne!(list.version, before.version);
}

pub(crate) async fn put_entry_founds_an_absent_list(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let step = Step { nonce: 1, lineage: 2, ..step(&[Change::Put(entry(1, 4))]) };
    assert_eq!(group.step(step).await.version, Some(Version { count: 4, nonce: 1, lineage: 2 }));
}

pub(crate) async fn time_of_a_put_entry_is_in_whole_milliseconds(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let put = Entry { since: Duration::from_micros(1_999), ..entry(1, 1) };
    assert_eq!(group.change(&[Change::Put(put)]).await.all()[0].since, Duration::from_millis(1));
}

pub(crate) async fn removed_position_is_not_assigned_again(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    assert_eq!(group.change(&[add(1, 10), add(2, 20), remove(2)]).await.positions(), [1]);
    assert_eq!(group.change(&[add(2, 20)]).await.positions(), [1, 3]);
}

pub(crate) async fn last_removal_deletes_the_list(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    group.change(&[add(1, 10), add(2, 20)]).await;
    assert_eq!(group.change(&[remove(1)]).await.ids(), [20]);
    let seen = group.look().await.version;
    let list = group.step(Step { seen, ..step(&[remove(2)]) }).await;
    assert_eq!((list.version, list.entries), (None, Some(vec![])));
    let step = Step { nonce: 8, lineage: 9, ..step(&[add(3, 30)]) };
    assert_eq!(group.step(step).await.version, Some(Version { count: 1, nonce: 8, lineage: 9 }));
}

pub(crate) async fn add_after_the_last_removal_founds_a_new_list(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    group.change(&[add(1, 10), add(2, 20), remove(1)]).await;
    let list = group.step(Step { nonce: 8, lineage: 9, ..step(&[remove(2), add(3, 30)]) }).await;
    assert_eq!((list.version, list.positions()), (Some(Version { count: 1, nonce: 8, lineage: 9 }), vec![1]));
}

pub(crate) async fn add_before_the_last_removal_keeps_the_lineage(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let lineage = group.change(&[add(1, 10)]).await.head().lineage;
    let list = group.change(&[add(2, 20), remove(1)]).await;
    assert_eq!((list.head().lineage, list.positions()), (lineage, vec![2]));
}

pub(crate) async fn removal_of_an_absent_member_has_no_effect(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    assert_eq!(group.change(&[remove(1)]).await.version, None);
    let before = group.change(&[add(1, 10)]).await;
    let list = group.change(&[remove(2)]).await;
    assert_eq!((list.version, list.entries), (before.version, before.entries));
}

pub(crate) async fn step_that_exceeds_the_maximum_changes_nothing(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let limited = |changes: &[Change]| Step { max_members: 2, ..step(changes) };
    let before = group.step(limited(&[add(1, 10), add(2, 20)])).await;
    for changes in [[add(1, 11), add(3, 30)], [add(1, 11), Change::Put(entry(3, 3))]] {
        let full = group.try_step(limited(&changes)).await;
        assert_eq!((full.result, full.version), (StepResult::Full, before.version));
        assert_eq!(full.entries, before.entries);
    }
    let none = Group::new(backplane);
    let full = none.try_step(Step { max_members: 0, ..step(&[add(1, 10)]) }).await;
    assert_eq!((full.result, full.version), (StepResult::Full, None));
}

pub(crate) async fn step_is_full_by_its_last_list_only(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let limited = |changes: &[Change]| Step { max_members: 1, ..step(changes) };
    group.step(limited(&[add(1, 10)])).await;
    assert_eq!(group.step(limited(&[add(2, 20), remove(1)])).await.ids(), [20]);
    assert_eq!(group.step(limited(&[remove(2), add(3, 30)])).await.ids(), [30]);
}

pub(crate) async fn list_above_the_maximum_can_change_and_shrink(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let limited = |changes: &[Change]| Step { max_members: 1, ..step(changes) };
    group.change(&[add(1, 10), add(2, 20), add(3, 30)]).await;
    assert_eq!(group.step(limited(&[add(1, 11)])).await.ids(), [11, 20, 30]);
    assert_eq!(group.step(limited(&[remove(1)])).await.ids(), [20, 30]);
    assert_eq!(group.step(limited(&[remove(2), add(4, 40)])).await.ids(), [30, 40]);
    assert_eq!(group.try_step(limited(&[add(5, 50)])).await.result, StepResult::Full);
}

pub(crate) async fn condition_is_decided_before_the_maximum(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    group.change(&[add(1, 10)]).await;
    let step = Step { max_members: 1, ..conditional(Condition::Unchanged, &[add(2, 20)]) };
    assert_eq!(group.try_step(step).await.result, StepResult::ConditionFailed);
}

pub(crate) async fn each_change_has_the_nonce_of_its_step(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let changes = [add(1, 10), add(2, 20), add(1, 11), remove(2), Change::Put(entry(1, 1))];
    for (nonce, change) in (100..).zip(changes) {
        let list = group.step(Step { nonce, ..step(&[change]) }).await;
        assert_eq!(list.head().nonce, nonce, "{change:?}");
    }
}

pub(crate) async fn changes_without_an_effect_keep_the_version(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let before = group.change(&[add(1, 10), Change::Put(entry(2, 2))]).await;
    let repeated = Change::Add { token: member(2), id: MemberId(5), favored: false };
    let list = group.change(&[add(1, 10), repeated, remove(3), Change::Put(entry(2, 2))]).await;
    assert_eq!((list.version, list.entries), (before.version, before.entries));
}

pub(crate) async fn one_change_with_an_effect_changes_the_version(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let put = Change::Put(entry(1, 1));
    group.change(&[put]).await;
    for without_an_effect in [Change::Add { token: member(1), id: MemberId(5), favored: true }, put, remove(3)] {
        for changes in [[add(2, 20), without_an_effect], [without_an_effect, add(2, 20)], [add(2, 20), remove(2)]] {
            let list = group.step(Step { nonce: 77, ..step(&changes) }).await;
            assert_eq!(list.head().nonce, 77, "{changes:?}");
            group.step(Step { nonce: 78, ..step(&[add(2, 20), remove(2)]) }).await;
        }
    }
}

pub(crate) async fn current_copy_is_not_sent_again(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let seen = group.change(&[add(1, 10)]).await.version;
    let look = |seen| Step { seen, ..step(&[]) };
    assert_eq!(group.step(look(seen)).await.entries, None);
    let failed = conditional(Condition::Witness(entry(9, 9)), &[remove(1)]);
    assert_eq!(group.try_step(Step { seen, ..failed }).await.entries, None, "also if the condition failed");
    assert_eq!(group.step(look(None)).await.ids(), [10]);
    let list = group.step(Step { seen, ..step(&[add(2, 20)]) }).await;
    assert_eq!(list.ids(), [10, 20], "the step itself changed the list");
    assert_eq!(group.step(look(seen)).await.ids(), [10, 20]);
}

pub(crate) async fn absent_list_has_no_version_and_no_entries(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    for seen in [None, Some(Version { count: 0, nonce: 0, lineage: 0 })] {
        let list = group.step(Step { seen, ..step(&[]) }).await;
        assert_eq!((list.version, list.entries), (None, Some(vec![])));
    }
}

pub(crate) async fn extreme_numbers_are_stored_exactly(backplane: &impl Backplane) {
    let group = Group::new(backplane);
    let token = |n| Token { node: NodeId(n), peer: PeerId(n) };
    let [low, high] = [0, u64::MAX].map(|n| Entry {
        token: token(n),
        position: 1 + n % 2,
        id: MemberId(n as u32),
        favored: n > 0,
        since: Duration::ZERO,
    });
    for number in [0, u64::MAX, u64::MAX - 1, (1 << 53) + 1] {
        let changes = [Change::Put(low), Change::Put(high), Change::Remove(token(number))];
        let list = group.step(Step { nonce: number, lineage: number, ..step(&changes) }).await;
        let Version { nonce, lineage, .. } = list.head();
        assert_eq!((nonce, lineage), (number, number));
        let entries = [low, high].into_iter().filter(|entry| entry.token != token(number));
        assert_eq!(list.entries, Some(entries.collect()));
        group.change(&[Change::Remove(low.token), Change::Remove(high.token)]).await;
    }
}

pub(crate) async fn large_positions_are_counted_exactly(backplane: &impl Backplane) {
    const HIGH: u64 = 1 << 32;
    for (positions, next) in [
        ([HIGH - 1, 5], HIGH),
        ([2 * HIGH - 1, HIGH + 7], 2 * HIGH),
        ([3 * HIGH + 5, 2 * HIGH + 9], 3 * HIGH + 6),
        ([(1 << 53) + 1, 1 << 53], (1 << 53) + 2),
        ([u64::MAX - 1, 1], u64::MAX),
        ([u64::MAX, 1], u64::MAX),
    ] {
        let group = Group::new(backplane);
        let puts = positions.map(|position| Change::Put(entry(position, position)));
        let list = group.change(&[puts[0], puts[1], add(3, 30)]).await;
        let added = list.all().iter().find(|entry| entry.id == MemberId(30)).expect("it was added");
        assert_eq!((added.position, list.head().count), (next, next));
    }
}

pub(crate) async fn groups_are_separate(backplane: &impl Backplane) {
    let groups = [Group::new(backplane), Group::new(backplane)];
    groups[0].change(&[add(1, 10)]).await;
    assert_eq!(groups[1].look().await.version, None);
    groups[1].change(&[add(1, 20), remove(1)]).await;
    assert_eq!(groups[0].look().await.ids(), [10]);
}
