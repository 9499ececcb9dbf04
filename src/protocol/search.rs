//! The search of one joiner: which members it has tried, and which one comes next.

use std::collections::HashSet;

use super::members::{Cursor, Member, Members, Position};
use super::{MemberId, PeerId};

/// The ids that a peer has tried: those of the members that it has been bound to since it joined, since it was last a
/// member, or since its search started over.
///
/// Only joiners that are bound use memory for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search(Option<Box<Progress>>);

/// A member that [`Search::select`] has selected. [`Search::record`] applies it to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Selection<P = PeerId> {
    pub(crate) member: Member<P>,
    pub(crate) position: Position,
    /// All members have been tried: the search starts over with this one.
    pub(crate) restarts: bool,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Keeps std's seeded hasher, because peers choose the ids.
    tried: HashSet<MemberId>,
    /// Every candidate that the cursor has passed has been tried, unless it has changed its id since. The cursor also
    /// passes candidates with a tried id that the search only skipped, so a search skips each of them once.
    cursor: Cursor,
}

/// The number of ids without a member that a search remembers, in addition to two for each id in use. npm's
/// `sigver` remembers all of them; the limit bounds the memory when a member changes its id again and again.
const SPARE_TRIED: usize = 64;

impl Search {
    /// Returns whether the peer has tried this id.
    pub(crate) fn has_tried(&self, id: MemberId) -> bool {
        self.0.as_ref().is_some_and(|progress| progress.tried.contains(&id))
    }

    /// Selects the first member that `joiner` has not tried, or the first of all if it has tried them all.
    /// `None` if the group has no member other than `joiner`.
    ///
    /// Costs O(log n) in the worst case, because [`Members::find_candidate`] visits a bounded number of tried members.
    /// The bound has two consequences:
    /// - If more than [`MAX_RENAMED`](super::members::MAX_RENAMED) members change their ids during the search, it can
    ///   miss an id that one of the earlier ones took. When it finds no other member it starts over, and misses none.
    /// - If more than [`MAX_SKIPPED`](super::members::MAX_SKIPPED) members in a row have taken tried ids, it selects a
    ///   tried id again. It has not selected that member since the peer became a member, because the cursor has not
    ///   passed it.
    pub(crate) fn select<P: Copy + Eq>(&self, members: &Members<P>, joiner: P) -> Option<Selection<P>> {
        self.select_counting(members, joiner, || {})
    }

    /// Calls `visit` for each member that is visited.
    pub(crate) fn select_counting<P: Copy + Eq>(
        &self,
        members: &Members<P>,
        joiner: P,
        mut visit: impl FnMut(),
    ) -> Option<Selection<P>> {
        self.first_untried(members, joiner, &mut visit).or_else(|| {
            let selection = Self::default().first_untried(members, joiner, &mut visit)?;
            Some(Selection { restarts: true, ..selection })
        })
    }

    /// Applies a selection. The caller must remove the joiner from `members` first.
    pub(crate) fn record<P: Copy>(&mut self, selection: &Selection<P>, members: &Members<P>) {
        let progress = self.0.get_or_insert_default();
        if selection.restarts {
            **progress = Progress::default();
        }
        members.advance(&mut progress.cursor, selection.position);
        progress.tried.insert(selection.member.id);
        let max = 2 * members.id_count() + SPARE_TRIED;
        if progress.tried.len() > max {
            progress.tried.retain(|&id| members.contains_id(id));
            // A pass visits the whole capacity.
            progress.tried.shrink_to(max);
        }
    }

    /// Continues at the first position, and keeps the tried ids. Required when all positions were assigned anew.
    #[cfg(feature = "cluster")]
    pub(crate) fn rewind(&mut self) {
        if let Some(progress) = &mut self.0 {
            progress.cursor = Cursor::default();
        }
    }

    /// Forgets all members that have been tried.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    fn first_untried<P: Copy + Eq>(
        &self,
        members: &Members<P>,
        joiner: P,
        mut visit: impl FnMut(),
    ) -> Option<Selection<P>> {
        let cursor = self.0.as_ref().map_or_else(Cursor::default, |progress| progress.cursor);
        let mut is_tried = |member: &Member<P>| {
            visit();
            self.has_tried(member.id)
        };
        let mut first = members.find_candidate(cursor, &mut is_tried)?;
        if first.1.peer == joiner {
            // A member that is about to lose its membership is not bound to itself. The next member is the next
            // candidate, or the first duplicate of the joiner's id if that has a lower position.
            let next = members.find_candidate(cursor, |member| is_tried(member) || member.peer == joiner);
            let duplicate = members.first_duplicate(first.1.id);
            first = next.into_iter().chain(duplicate).min_by_key(|&(position, _)| position)?;
        }
        let (position, member) = first;
        Some(Selection { member, position, restarts: false })
    }
}

#[cfg(test)]
impl Search {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The ids that have been tried, sorted.
    pub(crate) fn tried_ids(&self) -> Vec<MemberId> {
        let mut ids: Vec<_> = self.0.iter().flat_map(|progress| &progress.tried).copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Whether the cursor has passed this position.
    pub(crate) fn has_passed(&self, position: Position) -> bool {
        self.0.as_ref().is_some_and(|progress| progress.cursor.has_passed(position))
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The peer that searches, which is not a member.
    const JOINER: PeerId = PeerId(u64::MAX);

    fn member(n: u32) -> Member {
        Member::new(PeerId(n.into()), MemberId(n), Duration::ZERO)
    }

    /// Members with the ids from 1 to `count`.
    fn members(count: u32) -> (Members, Vec<Position>) {
        let mut members = Members::default();
        let positions = (1..=count).map(|n| members.insert(member(n), false)).collect();
        (members, positions)
    }

    /// Selects and records `count` members, and returns their ids.
    fn selections(members: &Members, search: &mut Search, count: usize) -> Vec<u32> {
        let mut select = || {
            let selection = search.select(members, JOINER).expect("the group has members");
            search.record(&selection, members);
            selection.member.id.0
        };
        (0..count).map(|_| select()).collect()
    }

    #[test]
    fn search_selects_each_member_in_order_and_starts_over() {
        let (mut members, _) = members(2);
        members.insert(member(3), true);
        assert_eq!(selections(&members, &mut Search::default(), 5), [3, 1, 2, 3, 1]);
    }

    #[test]
    fn selecting_changes_nothing_until_it_is_recorded() {
        let (members, _) = members(2);
        let mut search = Search::default();
        let first = search.select(&members, JOINER).expect("the group has members");
        assert_eq!(search.select(&members, JOINER), Some(first));
        search.record(&first, &members);
        assert_eq!(selections(&members, &mut search, 1), [2]);
    }

    #[test]
    fn favored_member_inserted_during_a_search_is_selected_next() {
        let (mut members, _) = members(3);
        let mut search = Search::default();
        assert_eq!(selections(&members, &mut search, 1), [1]);
        members.insert(member(9), true);
        assert_eq!(selections(&members, &mut search, 3), [9, 2, 3]);
    }

    #[test]
    fn renamed_member_is_untried_and_keeps_its_position() {
        let (mut members, positions) = members(4);
        let mut search = Search::default();
        assert_eq!(selections(&members, &mut search, 2), [1, 2]);
        members.rename(positions[0], MemberId(1), MemberId(7));
        assert_eq!(selections(&members, &mut search, 4), [7, 3, 4, 7]);
    }

    #[test]
    fn tried_id_is_not_selected_again_when_a_new_member_takes_it() {
        let (mut members, positions) = members(2);
        let mut search = Search::default();
        assert_eq!(selections(&members, &mut search, 1), [1]);
        members.remove(positions[0], MemberId(1));
        members.insert(member(1), false);
        members.insert(member(3), false);
        assert_eq!(selections(&members, &mut search, 3), [2, 3, 2]);
    }

    #[test]
    fn member_is_not_bound_to_itself_but_to_the_next_position() {
        let (mut members, _) = members(1);
        let select = |members: &Members, peer| {
            Search::default().select(members, PeerId(peer)).map(|selection| selection.member.peer.0)
        };
        assert_eq!(select(&members, 1), None);
        members.insert(Member::new(PeerId(2), MemberId(1), Duration::ZERO), false);
        members.insert(member(3), false);
        assert_eq!((select(&members, 1), select(&members, 2)), (Some(2), Some(1)));
        members.insert(member(4), true);
        assert_eq!((select(&members, 1), select(&members, 4)), (Some(4), Some(1)));
    }

    #[test]
    fn search_forgets_ids_without_a_member_when_it_has_tried_too_many() {
        let (mut members, positions) = members(5);
        let mut search = Search::default();
        selections(&members, &mut search, 5);
        let max = 2 * 5 + SPARE_TRIED;
        for (old, tried) in (5..).zip((6..=max).chain([5, 6])) {
            members.rename(positions[4], MemberId(old), MemberId(old + 1));
            assert_eq!(selections(&members, &mut search, 1), [old + 1]);
            assert_eq!(search.tried_ids().len(), tried);
        }
    }

    #[test]
    fn table_of_tried_ids_shrinks_when_members_have_left() {
        let (mut members, positions) = members(1000);
        let mut search = Search::default();
        selections(&members, &mut search, 1000);
        (2..).zip(&positions[1..]).for_each(|(id, &position)| members.remove(position, MemberId(id)));
        members.rename(positions[0], MemberId(1), MemberId(2000));
        assert_eq!(selections(&members, &mut search, 1), [2000]);
        assert_eq!(search.tried_ids(), [MemberId(2000)]);
        let capacity = search.0.expect("the search has begun").tried.capacity();
        assert!(capacity <= 2 * (2 + SPARE_TRIED), "{capacity}");
    }
}
