//! A group's members: who they are, in which order they are offered, and which of them a joiner has tried.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{MemberId, PeerId};

/// The members of one group.
///
/// Peers choose their ids, and many may choose the same. A joiner that has tried an id has tried all who bear it, so
/// only the first of them is ever offered; the others wait behind it, where no search has to walk past them.
///
/// Ids come from peers, so whatever hashes them keeps std's seeded hasher.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// How many were ever admitted: the next place in the order.
    admitted: u64,
    classes: [Class; 2],
    /// Where the first bearer of each id stands.
    first: HashMap<MemberId, Place>,
    /// The other bearers.
    waiting: BTreeMap<(MemberId, Place), Bearer>,
}

/// The first bearers among the favored members or among the others, in order of admission.
#[derive(Clone, Debug, Default)]
struct Class {
    order: BTreeMap<u64, Member>,
    /// The places of those that changed their id while they stayed, see [`Search::passed`].
    renamed: BTreeSet<u64>,
}

/// Who bears an id at a place.
#[derive(Clone, Copy, Debug)]
struct Bearer {
    peer: PeerId,
    renamed: bool,
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

impl Place {
    const FIRST: Self = Self { class: 0, nth: 0 };
    const LAST: Self = Self { class: usize::MAX, nth: u64::MAX };
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
        self.first.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.order.len()).sum::<usize>() + self.waiting.len()
    }

    /// The member of a group that has just one.
    pub(super) fn sole(&self) -> Option<Member> {
        let alone = self.first.len() == 1 && self.waiting.is_empty();
        self.classes.iter().find_map(|class| class.order.values().next()).copied().filter(|_| alone)
    }

    /// Whether one of `ids` is a member's.
    pub(super) fn include_any(&self, ids: &[MemberId]) -> bool {
        ids.iter().any(|id| self.first.contains_key(id))
    }

    /// Puts a peer behind all others of its class.
    pub(super) fn admit(&mut self, member: Member, favored: bool) -> Place {
        self.admitted += 1;
        let place = Place { class: usize::from(!favored), nth: self.admitted };
        self.put(place, member.id, Bearer { peer: member.peer, renamed: false });
        place
    }

    /// Gives the member at `place` another id; it keeps its place.
    pub(super) fn rename(&mut self, place: Place, from: MemberId, to: MemberId) {
        if from != to {
            let Bearer { peer, .. } = self.take(place, from);
            self.put(place, to, Bearer { peer, renamed: true });
        }
    }

    pub(super) fn remove(&mut self, place: Place, id: MemberId) {
        self.take(place, id);
    }

    /// The first member, in the order of offers, that `search` has not tried yet; once all were tried, the first of
    /// all, with the search started over. `None` when there are no members.
    ///
    /// Costs O(log n), plus those that changed their id and were tried under the new one.
    pub(super) fn offer(&self, search: &mut Search) -> Option<Member> {
        let member = (0..self.classes.len()).find_map(|class| self.untried(class, search)).or_else(|| {
            *search = Search::default();
            (0..self.classes.len()).find_map(|class| self.untried(class, search))
        })?;
        search.tried.insert(member.id);
        if search.tried.len() > 2 * self.first.len() + SPARE_TRIED {
            search.tried.retain(|id| self.first.contains_key(id));
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

    fn put(&mut self, place: Place, id: MemberId, bearer: Bearer) {
        match self.first.entry(id) {
            Entry::Vacant(none) => _ = none.insert(place),
            Entry::Occupied(mut first) if place < *first.get() => {
                let later = first.insert(place);
                let waiting = self.classes[later.class].take(later.nth);
                self.waiting.insert((id, later), waiting);
            }
            Entry::Occupied(_) => {
                self.waiting.insert((id, place), bearer);
                return;
            }
        }
        self.classes[place.class].put(place.nth, id, bearer);
    }

    fn take(&mut self, place: Place, id: MemberId) -> Bearer {
        if let Some(bearer) = self.waiting.remove(&(id, place)) {
            return bearer;
        }
        let bearer = self.classes[place.class].take(place.nth);
        match self.waiting.range((id, Place::FIRST)..=(id, Place::LAST)).next() {
            Some((&(_, next), &waiting)) => {
                self.waiting.remove(&(id, next));
                self.first.insert(id, next);
                self.classes[next.class].put(next.nth, id, waiting);
            }
            None => _ = self.first.remove(&id),
        }
        bearer
    }
}

impl Class {
    fn put(&mut self, nth: u64, id: MemberId, Bearer { peer, renamed }: Bearer) {
        self.order.insert(nth, Member { peer, id });
        if renamed {
            self.renamed.insert(nth);
        }
    }

    fn take(&mut self, nth: u64) -> Bearer {
        let Member { peer, .. } = self.order.remove(&nth).expect("a place is held for as long as its member stays");
        Bearer { peer, renamed: self.renamed.remove(&nth) }
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
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Place, Member)> + use<> {
        let first = self.classes.iter().enumerate().flat_map(|(class, members)| {
            members.order.iter().map(move |(&nth, &member)| (Place { class, nth }, member))
        });
        let waiting = self.waiting.iter().map(|(&(id, place), bearer)| (place, Member { peer: bearer.peer, id }));
        let all: BTreeMap<_, _> = first.chain(waiting).collect();
        all.into_iter()
    }

    pub(super) fn renamed(&self, place: Place) -> bool {
        let waiting = self.waiting.iter().any(|(&(_, other), bearer)| other == place && bearer.renamed);
        waiting || self.classes[place.class].renamed.contains(&place.nth)
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
        members.rename(first, MemberId(1), MemberId(7));
        assert_eq!(offers(&members, &mut search, 4), [7, 3, 4, 7]);
    }

    #[test]
    fn an_id_that_was_tried_is_not_offered_again_when_its_bearer_comes_back() {
        let mut members = Members::default();
        let first = members.admit(member(1), false);
        members.admit(member(2), false);
        let mut search = Search::default();
        assert_eq!(offers(&members, &mut search, 1), [1]);
        members.remove(first, MemberId(1));
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
            members.rename(changing, MemberId(id - 1), MemberId(id));
        }
        assert!(search.tried.len() <= 2 * 2 + SPARE_TRIED, "{}", search.tried.len());
    }

    #[test]
    fn no_search_walks_past_those_who_share_an_id() {
        let mut members = Members::default();
        let shared = Member { peer: PeerId(0), id: MemberId(1) };
        (0..10_000).for_each(|_| _ = members.admit(shared, false));
        members.admit(member(2), false);
        assert_eq!(offers(&members, &mut Search::default(), 3), [1, 2, 1]);
        assert_eq!(members.classes[1].order.len(), 2);
    }

    #[test]
    fn who_waits_behind_an_id_takes_the_place_of_its_first_bearer() {
        let mut members = Members::default();
        let [first, second, third] = [1, 2, 3].map(|peer| Member { peer: PeerId(peer), id: MemberId(5) });
        let places = [first, second, third].map(|member| members.admit(member, false));
        assert_eq!(members.offer(&mut Search::default()), Some(first));
        members.remove(places[0], MemberId(5));
        assert_eq!(members.offer(&mut Search::default()), Some(second));
        members.rename(places[1], MemberId(5), MemberId(6));
        assert_eq!(offers(&members, &mut Search::default(), 3), [6, 5, 6]);
        members.rename(places[1], MemberId(6), MemberId(5));
        assert_eq!(members.offer(&mut Search::default()), Some(second));
        members.admit(Member { peer: PeerId(9), id: MemberId(5) }, true);
        assert_eq!(members.offer(&mut Search::default()).map(|member| member.peer), Some(PeerId(9)));
        assert_eq!(members.in_order().map(|(_, member)| member.peer.0).collect::<Vec<_>>(), [9, 2, 3]);
    }

    #[test]
    fn an_id_counts_until_its_last_bearer_leaves() {
        let mut members = Members::default();
        let places = [members.admit(member(5), false), members.admit(member(5), true)];
        for place in places {
            assert!(members.include_any(&[MemberId(1), MemberId(5)]));
            members.remove(place, MemberId(5));
        }
        assert!(!members.include_any(&[MemberId(5)]));
        assert!(members.is_empty());
    }
}
