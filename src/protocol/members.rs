//! A group's members: who they are, in which order they are offered, and which of them a joiner has tried.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{MemberId, PeerId};

/// The members of one group.
///
/// Ids come from peers, so whatever hashes them keeps std's seeded hasher.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// How many were ever admitted: the next place in the order.
    admitted: u64,
    classes: [Class; 2],
    /// How many members bear an id: peers choose their ids, and two may choose the same.
    bearers: HashMap<MemberId, usize>,
}

/// The favored members or the others, in order of admission.
#[derive(Clone, Debug, Default)]
struct Class {
    order: BTreeMap<u64, Member>,
    /// The places of those that changed their id while they stayed, see [`Search::passed`].
    renamed: BTreeSet<u64>,
}

/// One member, as it is offered to joiners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) peer: PeerId,
    pub(super) id: MemberId,
}

/// How many ids that no member has any more a joiner remembers, beside one for each member. The reference remembers all
/// of them; here a member that changes its id again and again costs nobody memory without end.
const SPARE_TRIED: usize = 64;

/// Where a member stands. Favored members are offered before the others, and each class by admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    class: usize,
    nth: u64,
}

/// Which members a joiner has been bound to since it was last admitted.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    tried: HashSet<MemberId>,
    /// For each class the place up to which every member has been tried, so that a joiner that asks again and again
    /// never walks over all that it tried before. Only a member that changed its id can be untried behind it.
    passed: [u64; 2],
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.bearers.is_empty()
    }

    /// The member of a group that has just one.
    pub(super) fn sole(&self) -> Option<Member> {
        let mut all = self.classes.iter().flat_map(|class| class.order.values());
        all.next().copied().filter(|_| all.next().is_none())
    }

    /// Whether one of `ids` is a member's.
    pub(super) fn include_any(&self, ids: &[MemberId]) -> bool {
        ids.iter().any(|id| self.bearers.contains_key(id))
    }

    /// Puts a peer behind all others of its class.
    pub(super) fn admit(&mut self, member: Member, favored: bool) -> Place {
        self.admitted += 1;
        let place = Place { class: usize::from(!favored), nth: self.admitted };
        self.classes[place.class].order.insert(place.nth, member);
        *self.bearers.entry(member.id).or_default() += 1;
        place
    }

    /// Gives the member at `place` another id; it keeps its place.
    pub(super) fn rename(&mut self, place: Place, id: MemberId) {
        let class = &mut self.classes[place.class];
        let member = class.order.get_mut(&place.nth).expect("a place is held for as long as its member stays");
        let old = std::mem::replace(&mut member.id, id);
        if old != id {
            class.renamed.insert(place.nth);
            *self.bearers.entry(id).or_default() += 1;
            self.forget_bearer(old);
        }
    }

    pub(super) fn remove(&mut self, place: Place) {
        let class = &mut self.classes[place.class];
        class.renamed.remove(&place.nth);
        let member = class.order.remove(&place.nth).expect("a place is held for as long as its member stays");
        self.forget_bearer(member.id);
    }

    /// The first member, in the order of offers, that `search` has not tried yet; once all were tried, the first of
    /// all, with the search started over. `None` when there are no members.
    ///
    /// Costs O(log n), plus the members that share an id with another or changed theirs.
    pub(super) fn offer(&self, search: &mut Search) -> Option<Member> {
        let member = (0..self.classes.len()).find_map(|class| self.untried(class, search)).or_else(|| {
            *search = Search::default();
            (0..self.classes.len()).find_map(|class| self.untried(class, search))
        })?;
        search.tried.insert(member.id);
        if search.tried.len() > 2 * self.bearers.len() + SPARE_TRIED {
            search.tried.retain(|id| self.bearers.contains_key(id));
        }
        Some(member)
    }

    fn untried(&self, class: usize, search: &mut Search) -> Option<Member> {
        let Class { order, renamed } = &self.classes[class];
        let passed = search.passed[class];
        let behind = renamed.range(..=passed).map(|nth| order[nth]).find(|member| !search.tried.contains(&member.id));
        behind.or_else(|| {
            let mut ahead = order.range(passed + 1..);
            let (&nth, &member) = ahead.find(|(_, member)| !search.tried.contains(&member.id))?;
            search.passed[class] = nth;
            Some(member)
        })
    }

    fn forget_bearer(&mut self, id: MemberId) {
        let count = self.bearers.get_mut(&id).expect("each member's id is counted");
        *count -= 1;
        if *count == 0 {
            self.bearers.remove(&id);
        }
    }
}

impl Search {
    /// Whether the joiner has been bound to this id since it was last admitted.
    pub(super) fn tried(&self, id: MemberId) -> bool {
        self.tried.contains(&id)
    }
}

#[cfg(test)]
impl Members {
    /// All members in the order of offers, for tests that look at everything.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Place, Member)> + '_ {
        self.classes.iter().enumerate().flat_map(|(class, members)| {
            members.order.iter().map(move |(&nth, &member)| (Place { class, nth }, member))
        })
    }

    pub(super) fn renamed(&self, place: Place) -> bool {
        self.classes[place.class].renamed.contains(&place.nth)
    }
}

#[cfg(test)]
impl Search {
    pub(super) fn tried_ids(&self) -> BTreeSet<MemberId> {
        self.tried.iter().copied().collect()
    }

    /// Whether the member at `place` is behind what the search has passed.
    pub(super) fn passed(&self, place: Place) -> bool {
        place.nth <= self.passed[place.class]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u32) -> Member {
        Member { peer: PeerId(n.into()), id: MemberId(n) }
    }

    fn offers(members: &Members, search: &mut Search, count: usize) -> Vec<u32> {
        (0..count).map(|_| members.offer(search).expect("there are members").id.0).collect()
    }

    #[test]
    fn offers_go_by_admission_with_favored_members_first_and_start_over() {
        let mut members = Members::default();
        for (n, favored) in [(1, false), (2, true), (3, false), (4, true)] {
            members.admit(member(n), favored);
        }
        assert_eq!(offers(&members, &mut Search::default(), 6), [2, 4, 1, 3, 2, 4]);
    }

    #[test]
    fn a_favored_member_admitted_during_a_search_is_next() {
        let mut members = Members::default();
        (1..=3).for_each(|n| _ = members.admit(member(n), false));
        let mut search = Search::default();
        assert_eq!(offers(&members, &mut search, 1), [1]);
        members.admit(member(9), true);
        assert_eq!(offers(&members, &mut search, 3), [9, 2, 3]);
    }

    #[test]
    fn a_member_that_changed_its_id_keeps_its_place_and_is_untried() {
        let mut members = Members::default();
        let first = members.admit(member(1), false);
        (2..=4).for_each(|n| _ = members.admit(member(n), false));
        let mut search = Search::default();
        assert_eq!(offers(&members, &mut search, 2), [1, 2]);
        members.rename(first, MemberId(7));
        assert_eq!(offers(&members, &mut search, 4), [7, 3, 4, 7]);
    }

    #[test]
    fn an_id_that_was_tried_is_not_offered_again_when_its_bearer_comes_back() {
        let mut members = Members::default();
        let first = members.admit(member(1), false);
        members.admit(member(2), false);
        let mut search = Search::default();
        assert_eq!(offers(&members, &mut search, 1), [1]);
        members.remove(first);
        members.admit(member(1), false);
        members.admit(member(3), false);
        assert_eq!(offers(&members, &mut search, 3), [2, 3, 2]);
    }

    #[test]
    fn a_member_that_keeps_changing_its_id_does_not_fill_a_joiners_memory() {
        let mut members = Members::default();
        members.admit(member(1), false);
        let changing = members.admit(member(2), false);
        let mut search = Search::default();
        for id in 3..10_000 {
            members.offer(&mut search);
            members.rename(changing, MemberId(id));
        }
        assert!(search.tried.len() <= 2 * 2 + SPARE_TRIED, "{}", search.tried.len());
    }

    #[test]
    fn an_id_counts_until_its_last_bearer_leaves() {
        let mut members = Members::default();
        let places = [members.admit(member(5), false), members.admit(member(5), true)];
        for place in places {
            assert!(members.include_any(&[MemberId(1), MemberId(5)]));
            members.remove(place);
        }
        assert!(!members.include_any(&[MemberId(5)]));
        assert!(members.is_empty());
    }
}
