//! The members of one group, in the order in which joiners are bound to them.
//!
//! Peers choose their own ids, so several members can have the same id. A joiner that has tried one of them has tried
//! them all, so only the first member of each id is a *candidate*: a member that a joiner can be bound to. In this
//! example, B has changed its id, C has the id of A, and D is favored. The rows have the order of selection:
//!
//! ```text
//! member | id | position | stored in
//! D      | 8  | 4        | tier of favored members
//! A      | 5  | 1        | tier of regular members
//! B      | 7  | 2        | tier of regular members, and its `renamed`
//! C      | 5  | 3        | `duplicates`, because A has the same id and a lower position
//!
//! by_id: 5 -> position 1, 7 -> position 2, 8 -> position 4
//! ```
//!
//! Invariants, checked by [`Members::debug_assert_invariants`]:
//! 1. `by_id` maps each id in use to the first position of a member with this id.
//! 2. The tiers contain exactly the members at the positions in `by_id`. `duplicates` contains all other members.
//! 3. `renamed` is a subset of its tier.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::time::Duration;

use super::{MemberId, PeerId};

/// The member list of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// The number of the last position that was assigned.
    last: u64,
    /// Favored members, then regular members.
    tiers: [Tier; TIERS],
    /// Keeps std's seeded hasher, because peers choose the ids.
    by_id: HashMap<MemberId, Position>,
    duplicates: BTreeMap<(MemberId, Position), Entry>,
}

/// One member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) id: MemberId,
    /// When the peer became a member, in nanoseconds: half of a [`Duration`], as each group reserves eleven members.
    since: u64,
}

impl Member {
    pub(super) fn new(peer: PeerId, id: MemberId, since: Duration) -> Self {
        Self { peer, id, since: since.as_nanos() as u64 }
    }

    /// Returns the time for which the peer has been a member.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.since))
    }
}

/// The place of a member in the order of selection. It never changes while the peer is a member, and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    tier: usize,
    nth: u64,
}

/// How far a search has advanced in each tier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor([u64; TIERS]);

/// The candidates among the favored or the regular members.
#[derive(Clone, Debug, Default)]
struct Tier {
    order: BTreeMap<u64, Member>,
    renamed: BTreeSet<u64>,
}

/// A member and whether it has changed its id.
#[derive(Clone, Copy, Debug)]
struct Entry {
    member: Member,
    renamed: bool,
}

const TIERS: usize = 2;

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len() + self.duplicates.len()
    }

    /// Returns the number of different ids.
    pub(super) fn id_count(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the member of a group that has exactly one.
    pub(super) fn only(&self) -> Option<Member> {
        let is_only = self.by_id.len() == 1 && self.duplicates.is_empty();
        self.tiers.iter().find_map(|tier| tier.order.values().next()).copied().filter(|_| is_only)
    }

    /// Returns whether a member has this id.
    pub(super) fn contains_id(&self, id: MemberId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Returns the first matching candidate that a search with this cursor can still select: a candidate after the
    /// cursor, or one before it that has changed its id.
    pub(super) fn find_candidate(
        &self,
        cursor: Cursor,
        matches: impl Fn(&Member) -> bool,
    ) -> Option<(Position, Member)> {
        (0..TIERS).find_map(|tier| {
            let Tier { order, renamed } = &self.tiers[tier];
            let passed = cursor.0[tier];
            let mut before = renamed.range(..=passed).map(|nth| (nth, &order[nth]));
            let found = before.find(|(_, member)| matches(member));
            let (&nth, &member) = found.or_else(|| order.range(passed + 1..).find(|(_, member)| matches(member)))?;
            Some((Position { tier, nth }, member))
        })
    }

    /// Returns the first of the duplicates of an id: the candidate for this id if the current one is removed.
    pub(super) fn first_duplicate(&self, id: MemberId) -> Option<(Position, Member)> {
        let (&(_, position), entry) = self.duplicates.range((id, Position::FIRST)..=(id, Position::LAST)).next()?;
        Some((position, entry.member))
    }

    /// Adds a member with the last position of its tier.
    pub(super) fn insert(&mut self, member: Member, favored: bool) -> Position {
        self.last += 1;
        let position = Position { tier: usize::from(!favored), nth: self.last };
        self.insert_at(position, Entry { member, renamed: false });
        position
    }

    /// Changes the id of the member at `position`.
    pub(super) fn rename(&mut self, position: Position, from: MemberId, to: MemberId) {
        if from != to {
            let Entry { member, .. } = self.remove_at(position, from);
            self.insert_at(position, Entry { member: Member { id: to, ..member }, renamed: true });
        }
    }

    /// Removes the member at `position`, which has this id.
    pub(super) fn remove(&mut self, position: Position, id: MemberId) {
        self.remove_at(position, id);
    }

    fn insert_at(&mut self, position: Position, entry: Entry) {
        let id = entry.member.id;
        let is_first = match self.by_id.entry(id) {
            hash_map::Entry::Vacant(unused) => {
                unused.insert(position);
                true
            }
            hash_map::Entry::Occupied(mut first) if position < *first.get() => {
                let later = first.insert(position);
                let duplicate = self.tiers[later.tier].remove(later.nth);
                self.duplicates.insert((id, later), duplicate);
                true
            }
            hash_map::Entry::Occupied(_) => false,
        };
        if is_first {
            self.tiers[position.tier].insert(position.nth, entry);
        } else {
            self.duplicates.insert((id, position), entry);
        }
        self.debug_assert_invariants(id);
    }

    fn remove_at(&mut self, position: Position, id: MemberId) -> Entry {
        let entry = self.duplicates.remove(&(id, position)).unwrap_or_else(|| {
            let entry = self.tiers[position.tier].remove(position.nth);
            match self.first_duplicate(id).and_then(|(next, _)| self.duplicates.remove_entry(&(id, next))) {
                Some(((_, next), duplicate)) => {
                    self.by_id.insert(id, next);
                    self.tiers[next.tier].insert(next.nth, duplicate);
                }
                None => _ = self.by_id.remove(&id),
            }
            entry
        });
        self.debug_assert_invariants(id);
        entry
    }

    /// Checks the invariants for one id, in O(log n) and in debug builds only.
    fn debug_assert_invariants(&self, id: MemberId) {
        if !cfg!(debug_assertions) {
            // The lookups below contain loops, which the optimizer does not remove.
            return;
        }
        let first = self.by_id.get(&id).copied();
        let candidate = first.and_then(|first| self.tiers[first.tier].order.get(&first.nth));
        assert_eq!(candidate.map(|member| member.id), first.map(|_| id), "by_id leads to a candidate with its id");
        let duplicate = self.first_duplicate(id).map(|(position, _)| position);
        assert!(duplicate.is_none() || (first.is_some() && first < duplicate), "by_id has the first position");
        let candidates: usize = self.tiers.iter().map(|tier| tier.order.len()).sum();
        assert_eq!(candidates, self.by_id.len(), "each id has exactly one candidate");
        let is_subset = |tier: &Tier| tier.renamed.last().is_none_or(|nth| tier.order.contains_key(nth));
        assert!(self.tiers.iter().all(is_subset), "only candidates are marked as renamed");
    }
}

impl Position {
    const FIRST: Self = Self { tier: 0, nth: 0 };
    const LAST: Self = Self { tier: usize::MAX, nth: u64::MAX };
}

impl Cursor {
    /// Advances past a position.
    pub(super) fn advance(&mut self, Position { tier, nth }: Position) {
        self.0[tier] = self.0[tier].max(nth);
    }

    #[cfg(test)]
    pub(super) fn has_passed(&self, Position { tier, nth }: Position) -> bool {
        nth <= self.0[tier]
    }
}

impl Tier {
    fn insert(&mut self, nth: u64, Entry { member, renamed }: Entry) {
        self.order.insert(nth, member);
        if renamed {
            self.renamed.insert(nth);
        }
    }

    fn remove(&mut self, nth: u64) -> Entry {
        let member = self.order.remove(&nth).expect("a member that is not a duplicate is in its tier");
        Entry { member, renamed: self.renamed.remove(&nth) }
    }
}

#[cfg(test)]
impl Members {
    /// All candidates in order.
    fn candidates(&self) -> impl Iterator<Item = (Position, Member)> {
        self.tiers.iter().enumerate().flat_map(|(tier, candidates)| {
            candidates.order.iter().map(move |(&nth, &member)| (Position { tier, nth }, member))
        })
    }

    /// All members in the order of selection, duplicates included.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Position, Member)> + use<> {
        let duplicates = self.duplicates.iter().map(|(&(_, position), entry)| (position, entry.member));
        let all: BTreeMap<_, _> = self.candidates().chain(duplicates).collect();
        all.into_iter()
    }

    pub(super) fn is_renamed(&self, position: Position) -> bool {
        let duplicate = self.duplicates.iter().any(|(&(_, other), entry)| other == position && entry.renamed);
        duplicate || self.tiers[position.tier].renamed.contains(&position.nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(peer: u64, id: u32) -> Member {
        Member::new(PeerId(peer), MemberId(id), Duration::ZERO)
    }

    fn candidates(members: &Members) -> Vec<u64> {
        members.candidates().map(|(_, member)| member.peer.0).collect()
    }

    #[test]
    fn candidates_are_ordered_by_tier_and_then_by_insertion() {
        let mut members = Members::default();
        for (n, favored) in [(1, false), (2, true), (3, false), (4, true)] {
            members.insert(member(n, n as u32), favored);
        }
        assert_eq!(candidates(&members), [2, 4, 1, 3]);
    }

    #[test]
    fn duplicates_are_not_candidates() {
        let mut members = Members::default();
        (0..10_000).for_each(|peer| _ = members.insert(member(peer, 1), false));
        members.insert(member(10_000, 2), false);
        assert_eq!(candidates(&members), [0, 10_000]);
        assert_eq!((members.len(), members.id_count()), (10_001, 2));
    }

    #[test]
    fn first_duplicate_becomes_candidate_when_the_candidate_of_its_id_leaves() {
        let mut members = Members::default();
        let [first, second, _] = [1, 2, 3].map(|peer| members.insert(member(peer, 5), false));
        assert_eq!(candidates(&members), [1]);
        members.remove(first, MemberId(5));
        assert_eq!(candidates(&members), [2]);
        members.rename(second, MemberId(5), MemberId(6));
        assert_eq!(candidates(&members), [2, 3]);
    }

    #[test]
    fn earlier_member_that_takes_an_id_replaces_its_candidate() {
        let mut members = Members::default();
        let first = members.insert(member(1, 1), false);
        members.insert(member(2, 5), false);
        members.rename(first, MemberId(1), MemberId(5));
        assert_eq!(candidates(&members), [1]);
        members.insert(member(3, 5), true);
        assert_eq!(candidates(&members), [3]);
        assert_eq!(members.in_order().map(|(_, member)| member.peer.0).collect::<Vec<_>>(), [3, 1, 2]);
    }

    #[test]
    fn cursor_skips_all_candidates_but_renamed_ones() {
        let mut members = Members::default();
        let positions = [1, 2, 3].map(|n| members.insert(member(n, n as u32), false));
        members.rename(positions[0], MemberId(1), MemberId(9));
        let mut cursor = Cursor::default();
        cursor.advance(positions[1]);
        let first =
            |matches: fn(&Member) -> bool| members.find_candidate(cursor, matches).map(|(_, member)| member.id.0);
        assert_eq!((first(|_| true), first(|member| member.id.0 < 9)), (Some(9), Some(3)));
    }

    #[test]
    fn id_is_in_use_until_its_last_member_is_removed() {
        let mut members = Members::default();
        let positions = [members.insert(member(1, 5), false), members.insert(member(2, 5), true)];
        for position in positions {
            assert!(members.contains_id(MemberId(5)));
            members.remove(position, MemberId(5));
        }
        assert!(members.is_empty() && !members.contains_id(MemberId(5)));
    }

    #[test]
    fn only_returns_the_member_of_a_group_with_exactly_one() {
        let mut members = Members::default();
        assert_eq!(members.only(), None);
        members.insert(member(1, 5), false);
        assert_eq!(members.only(), Some(member(1, 5)));
        members.insert(member(2, 5), false);
        assert_eq!(members.only(), None);
    }
}
