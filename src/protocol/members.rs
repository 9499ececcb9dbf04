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
//! B      | 7  | 2        | tier of regular members
//! C      | 5  | 3        | `duplicates`, because A has the same id and a lower position
//!
//! by_id: 5 -> position 1, 7 -> position 2, 8 -> position 4
//! renamed: B at position 2
//! ```
//!
//! Invariants, checked by [`Members::debug_assert_invariants`]:
//! 1. `by_id` maps each id in use to the first position of a member with this id.
//! 2. The tiers contain exactly the members at the positions in `by_id`. `duplicates` contains all other members.
//! 3. `renamed` contains at most [`MAX_RENAMED`] members, each once and with its current id.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::time::Duration;

use super::{MemberId, PeerId};

/// The member list of one group. `P` identifies a peer.
#[derive(Clone, Debug)]
pub(crate) struct Members<P = PeerId> {
    /// The number of the last position that was assigned.
    last: u64,
    /// The candidates among the favored members, then those among the regular members.
    tiers: [BTreeMap<u64, Member<P>>; TIERS],
    /// Keeps std's seeded hasher, because peers choose the ids.
    by_id: HashMap<MemberId, Position>,
    duplicates: BTreeMap<(MemberId, Position), Member<P>>,
    /// The members that most recently changed their ids, in the order of the changes.
    renamed: Vec<(Position, Member<P>)>,
}

/// One member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member<P = PeerId> {
    pub(crate) peer: P,
    pub(crate) id: MemberId,
    /// When the peer became a member, in nanoseconds. A `u64` has half the size of a [`Duration`], and each group
    /// reserves eleven members.
    since: u64,
}

impl<P> Member<P> {
    pub(crate) fn new(peer: P, id: MemberId, since: Duration) -> Self {
        Self { peer, id, since: since.as_nanos() as u64 }
    }

    /// Returns the time for which the peer has been a member.
    pub(crate) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_nanos(self.since))
    }
}

/// The place of a member in the order of selection. It never changes while the peer is a member, and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    tier: usize,
    nth: u64,
}

/// How far a search has advanced in each tier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor([u64; TIERS]);

/// How many renamed members before its cursor a search can still select. The search misses the others until it starts
/// over. Sixteen visits cost about as much as the rest of a connect.
pub(crate) const MAX_RENAMED: usize = 16;

/// The number of members with tried ids that a search skips in a row. It selects the next one, whatever its id.
pub(crate) const MAX_SKIPPED: usize = 16;

/// The number of ids in use up to which [`Members::contains_any_id`] looks for each of them, instead of looking up each
/// named id.
const MAX_SCANS: usize = 64;

pub(crate) const TIERS: usize = 2;

impl<P> Default for Members<P> {
    fn default() -> Self {
        Self {
            last: 0,
            tiers: Default::default(),
            by_id: HashMap::new(),
            duplicates: BTreeMap::new(),
            renamed: Vec::new(),
        }
    }
}

impl<P: Copy> Members<P> {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len() + self.duplicates.len()
    }

    /// Returns the number of different ids.
    pub(crate) fn id_count(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the member of a group that has exactly one.
    pub(crate) fn only(&self) -> Option<Member<P>> {
        let is_only = self.by_id.len() == 1 && self.duplicates.is_empty();
        self.tiers.iter().find_map(|tier| tier.values().next()).copied().filter(|_| is_only)
    }

    /// Returns whether a member has this id.
    pub(crate) fn contains_id(&self, id: MemberId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Returns whether a member has one of these ids, which can repeat.
    ///
    /// Costs at most one lookup for each of `ids`. If at most [`MAX_SCANS`] ids are in use, and no more than `ids` has,
    /// it scans `ids` once for each id in use instead. A comparison costs a hundredth of a lookup.
    pub(crate) fn contains_any_id(&self, ids: &[MemberId]) -> bool {
        if !is_scan_cheaper(self.id_count(), ids.len()) {
            return ids.iter().any(|&id| self.contains_id(id));
        }
        // The loop over a chunk has no early exit, so that the compiler can vectorize it.
        let (chunks, rest) = ids.as_chunks::<32>();
        let contains = |chunk: &[MemberId], id| chunk.iter().fold(false, |found, &other| found | (other == id));
        let scan = |id| chunks.iter().any(|chunk| contains(chunk, id)) || contains(rest, id);
        self.tiers.iter().flat_map(BTreeMap::values).any(|member| scan(member.id))
    }

    /// Returns the first candidate that a search with this cursor can still select and has not tried: one after the
    /// cursor, or one of the [`MAX_RENAMED`] before it that most recently changed their ids. After [`MAX_SKIPPED`]
    /// tried ones in a row, returns the next one, tried or not.
    ///
    /// Calls `is_tried` at most [`MAX_RENAMED`] + [`TIERS`] * [`MAX_SKIPPED`] times.
    pub(crate) fn find_candidate(
        &self,
        cursor: Cursor,
        mut is_tried: impl FnMut(&Member<P>) -> bool,
    ) -> Option<(Position, Member<P>)> {
        (0..TIERS).find_map(|tier| {
            let (order, passed) = (&self.tiers[tier], cursor.0[tier]);
            let renamed = self.renamed.iter().filter(|(position, _)| position.tier == tier && position.nth <= passed);
            let untried = renamed.filter(|(_, member)| !is_tried(member));
            let before = untried.filter(|(position, _)| order.contains_key(&position.nth)).min_by_key(|found| found.0);
            before.copied().or_else(|| {
                let mut visited = 0;
                let (&nth, &member) = order.range(passed + 1..).find(|(_, member)| {
                    visited += 1;
                    visited > MAX_SKIPPED || !is_tried(member)
                })?;
                Some((Position { tier, nth }, member))
            })
        })
    }

    /// Returns the first of the duplicates of an id: the candidate for this id if the current one is removed.
    pub(crate) fn first_duplicate(&self, id: MemberId) -> Option<(Position, Member<P>)> {
        let (&(_, position), &member) = self.duplicates.range((id, Position::FIRST)..=(id, Position::LAST)).next()?;
        Some((position, member))
    }

    /// Adds a member with the last position of its tier.
    pub(crate) fn insert(&mut self, member: Member<P>, favored: bool) -> Position {
        self.last += 1;
        let position = Position { tier: usize::from(!favored), nth: self.last };
        self.insert_at(position, member);
        position
    }

    /// Changes the id of the member at `position`.
    pub(crate) fn rename(&mut self, position: Position, from: MemberId, to: MemberId) {
        if from != to {
            let member = Member { id: to, ..self.remove_at(position, from) };
            self.insert_at(position, member);
            self.unmark_renamed(position);
            if self.renamed.len() == MAX_RENAMED {
                self.renamed.remove(0);
            }
            self.renamed.push((position, member));
        }
    }

    /// Removes the member at `position`, which has this id.
    pub(crate) fn remove(&mut self, position: Position, id: MemberId) {
        self.remove_at(position, id);
        self.unmark_renamed(position);
    }

    /// Advances a cursor past the position of a selected candidate, and past all candidates of the tiers before it:
    /// [`Members::find_candidate`] has found no untried one among them.
    pub(crate) fn advance(&self, cursor: &mut Cursor, Position { tier, nth }: Position) {
        cursor.0[..tier].iter_mut().for_each(|passed| *passed = self.last);
        cursor.0[tier] = cursor.0[tier].max(nth);
    }

    fn unmark_renamed(&mut self, position: Position) {
        self.renamed.retain(|&(renamed, _)| renamed != position);
    }

    fn insert_at(&mut self, position: Position, member: Member<P>) {
        let id = member.id;
        let is_first = match self.by_id.entry(id) {
            hash_map::Entry::Vacant(unused) => {
                unused.insert(position);
                true
            }
            hash_map::Entry::Occupied(mut first) if position < *first.get() => {
                let later = first.insert(position);
                let duplicate = self.take_candidate(later);
                self.duplicates.insert((id, later), duplicate);
                true
            }
            hash_map::Entry::Occupied(_) => false,
        };
        if is_first {
            self.tiers[position.tier].insert(position.nth, member);
        } else {
            self.duplicates.insert((id, position), member);
        }
        self.debug_assert_invariants(id);
    }

    fn remove_at(&mut self, position: Position, id: MemberId) -> Member<P> {
        let member = self.duplicates.remove(&(id, position)).unwrap_or_else(|| {
            let member = self.take_candidate(position);
            match self.first_duplicate(id).and_then(|(next, _)| self.duplicates.remove_entry(&(id, next))) {
                Some(((_, next), duplicate)) => {
                    self.by_id.insert(id, next);
                    self.tiers[next.tier].insert(next.nth, duplicate);
                }
                None => _ = self.by_id.remove(&id),
            }
            member
        });
        self.debug_assert_invariants(id);
        member
    }

    fn take_candidate(&mut self, Position { tier, nth }: Position) -> Member<P> {
        self.tiers[tier].remove(&nth).expect("a member that is not a duplicate is in its tier")
    }

    /// Checks the invariants for one id, in O(log n) and in debug builds only.
    fn debug_assert_invariants(&self, id: MemberId) {
        if !cfg!(debug_assertions) {
            // The lookups below contain loops, which the optimizer does not remove.
            return;
        }
        let first = self.by_id.get(&id).copied();
        let candidate = first.and_then(|first| self.tiers[first.tier].get(&first.nth));
        assert_eq!(candidate.map(|member| member.id), first.map(|_| id), "by_id leads to a candidate with its id");
        let duplicate = self.first_duplicate(id).map(|(position, _)| position);
        assert!(duplicate.is_none() || (first.is_some() && first < duplicate), "by_id has the first position");
        let candidates: usize = self.tiers.iter().map(BTreeMap::len).sum();
        assert_eq!(candidates, self.by_id.len(), "each id has exactly one candidate");
        assert!(self.renamed.len() <= MAX_RENAMED, "few members are marked as renamed");
    }
}

/// For a caller that copies a list that other nodes change.
#[cfg(feature = "cluster")]
impl<P: Copy> Members<P> {
    /// Adds a member at the position that another node assigned to it.
    pub(crate) fn insert_with(&mut self, position: Position, member: Member<P>) {
        self.last = self.last.max(position.nth);
        self.insert_at(position, member);
    }

    /// Sets the number of the last position that any node assigned.
    pub(crate) fn set_last(&mut self, last: u64) {
        self.last = last;
    }

    /// Iterates over the first member of each of these ids.
    pub(crate) fn with_ids(&self, ids: &[MemberId]) -> impl Iterator<Item = Member<P>> {
        let positions = ids.iter().filter_map(|id| self.by_id.get(id));
        positions.filter_map(|position| self.tiers[position.tier].get(&position.nth).copied())
    }
}

/// Returns whether [`Members::contains_any_id`] scans the named ids for each id in use.
fn is_scan_cheaper(ids_in_use: usize, named_ids: usize) -> bool {
    ids_in_use <= MAX_SCANS.min(named_ids)
}

#[cfg(feature = "cluster")]
impl Position {
    /// Creates the position with this number in the tier of favored or regular members.
    pub(crate) fn new(favored: bool, nth: u64) -> Self {
        Self { tier: usize::from(!favored), nth }
    }
}

impl Position {
    const FIRST: Self = Self { tier: 0, nth: 0 };
    const LAST: Self = Self { tier: usize::MAX, nth: u64::MAX };
}

#[cfg(test)]
impl Position {
    pub(crate) fn is_favored(self) -> bool {
        self.tier == 0
    }
}

#[cfg(test)]
impl Cursor {
    pub(crate) fn has_passed(&self, Position { tier, nth }: Position) -> bool {
        nth <= self.0[tier]
    }
}

#[cfg(test)]
impl<P: Copy> Members<P> {
    /// All candidates in order.
    fn candidates(&self) -> impl Iterator<Item = (Position, Member<P>)> {
        self.tiers.iter().enumerate().flat_map(|(tier, candidates)| {
            candidates.iter().map(move |(&nth, &member)| (Position { tier, nth }, member))
        })
    }

    /// All members in the order of selection, duplicates included.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (Position, Member<P>)> + use<P> {
        let duplicates = self.duplicates.iter().map(|(&(_, position), &member)| (position, member));
        let all: BTreeMap<_, _> = self.candidates().chain(duplicates).collect();
        all.into_iter()
    }

    pub(crate) fn is_renamed(&self, position: Position) -> bool {
        self.renamed.iter().any(|&(renamed, _)| renamed == position)
    }
}

#[cfg(test)]
mod tests;
