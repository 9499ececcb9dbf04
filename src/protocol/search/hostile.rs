//! Hostile histories of a member list: a selection visits few members, and is the one that the rules demand.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::members::{MAX_RENAMED, MAX_SKIPPED, TIERS};

/// The number of members that a selection visits at most: those of [`Members::find_candidate`], and the first of all if
/// the search starts over.
const MAX_VISITS: usize = MAX_RENAMED + TIERS * MAX_SKIPPED + 1;

/// More than a search visits, so that histories exceed the bounds.
const MANY: Range<usize> = 1..80;

/// The peer that searches. It is not a member.
const JOINER: PeerId = PeerId(u64::MAX);

/// What several peers do, one after the other.
#[derive(Clone, Debug)]
enum Step {
    BecomeMembers {
        count: usize,
        favored: bool,
        ids: Ids,
    },
    Rename {
        first: usize,
        count: usize,
        ids: Ids,
    },
    Leave {
        first: usize,
        count: usize,
    },
    /// Members lose their membership and become members again, with the ids that they had.
    Return {
        first: usize,
        count: usize,
    },
    Connect {
        joiner: usize,
        count: usize,
    },
}

/// The ids that peers choose.
#[derive(Clone, Copy, Debug)]
enum Ids {
    Unused,
    /// All choose one id, which a member may have.
    Equal(u32),
    /// The ids that a joiner has tried, in order.
    Tried,
}

fn step() -> impl Strategy<Value = Step> {
    let ids = prop_oneof![2 => Just(Ids::Unused), 1 => (1..200_u32).prop_map(Ids::Equal), 1 => Just(Ids::Tried)];
    let many = || (0..1000_usize, MANY);
    prop_oneof![
        2 => (MANY, any::<bool>(), ids.clone())
            .prop_map(|(count, favored, ids)| Step::BecomeMembers { count, favored, ids }),
        2 => (many(), ids).prop_map(|((first, count), ids)| Step::Rename { first, count, ids }),
        1 => many().prop_map(|(first, count)| Step::Leave { first, count }),
        2 => many().prop_map(|(first, count)| Step::Return { first, count }),
        4 => many().prop_map(|(joiner, count)| Step::Connect { joiner, count }),
    ]
}

#[derive(Default)]
struct History {
    members: Members,
    /// Each member, in the order in which they became members.
    current: Vec<(Position, MemberId)>,
    /// The last id of [`Ids::Unused`].
    last: u32,
    /// Each change of an id, and the new id.
    renames: Vec<(Position, MemberId)>,
    joiners: [Joiner; 2],
    counts: Counts,
}

/// A search, and what the rules say about it.
#[derive(Default)]
struct Joiner {
    search: Search,
    tried: BTreeSet<MemberId>,
    /// The number of renames when the search began.
    since: usize,
}

/// How often selections differ from the first member whose id has not been tried.
#[derive(Default)]
struct Counts {
    /// Members that a selection missed because they had changed their ids.
    missed: usize,
    /// Selections of a member with a tried id.
    repeated: usize,
    restarts: usize,
}

impl History {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::BecomeMembers { count, favored, ids } => {
                for id in self.ids(ids, count) {
                    self.insert(id, favored);
                }
            }
            Step::Rename { first, count, ids } => {
                let range = self.range(first, count);
                for (at, to) in range.clone().zip(self.ids(ids, range.len())) {
                    self.rename(at, to);
                }
            }
            Step::Leave { first, count } => {
                for (position, id) in self.current.drain(self.range(first, count)) {
                    self.members.remove(position, id);
                }
            }
            Step::Return { first, count } => {
                let returning = Vec::from_iter(self.current[self.range(first, count)].iter().copied());
                self.apply(&Step::Leave { first, count });
                for (position, id) in returning {
                    self.insert(id, position.is_favored());
                }
            }
            Step::Connect { joiner, count } => {
                let joiner = joiner % self.joiners.len();
                (0..count).for_each(|_| _ = self.connect(joiner));
            }
        }
    }

    fn insert(&mut self, id: MemberId, favored: bool) {
        let peer = PeerId(self.current.len() as u64);
        self.current.push((self.members.insert(Member::new(peer, id, Duration::ZERO), favored), id));
    }

    fn rename(&mut self, at: usize, to: MemberId) {
        let (position, ref mut id) = self.current[at];
        if *id != to {
            self.members.rename(position, *id, to);
            *id = to;
            self.renames.push((position, to));
        }
    }

    /// Returns the indices of `count` members from `first` on, or of fewer at the end.
    fn range(&self, first: usize, count: usize) -> Range<usize> {
        let len = self.current.len();
        let first = first % len.max(1);
        first..(first + count).min(len)
    }

    fn ids(&mut self, ids: Ids, count: usize) -> Vec<MemberId> {
        match ids {
            Ids::Unused => {
                self.last += count as u32;
                (self.last - count as u32..self.last).map(MemberId).collect()
            }
            Ids::Equal(id) => vec![MemberId(id); count],
            Ids::Tried => self.joiners[0].tried.iter().copied().take(count).collect(),
        }
    }

    /// Selects and records a member, and checks both. Returns the selected id.
    fn connect(&mut self, joiner: usize) -> Option<MemberId> {
        let joiner = &mut self.joiners[joiner];
        let mut visits = 0;
        let selection = joiner.search.select_counting(&self.members, JOINER, || visits += 1);
        assert!(visits <= MAX_VISITS, "{visits} visits");
        let Some(Selection { position, member, restarts }) = selection else {
            assert!(self.members.is_empty(), "a member is selected if there is one");
            return None;
        };

        let order = Vec::from_iter(self.members.in_order());
        let mut ids = HashSet::new();
        let candidates = order.iter().filter(|(_, member)| ids.insert(member.id));
        let before = Vec::from_iter(candidates.take_while(|&&(at, _)| restarts || at < position));
        let missed = before.iter().filter(|(_, member)| !joiner.tried.contains(&member.id));
        for &&(at, member) in missed {
            self.counts.missed += 1;
            assert!(joiner.search.has_passed(at) && joiner.may_miss(member.id, &self.renames), "{member:?} was missed");
        }
        if restarts {
            self.counts.restarts += 1;
            assert_eq!(position, order[0].0, "a search starts over with the first member");
            (joiner.tried, joiner.since) = (BTreeSet::new(), self.renames.len());
        } else if joiner.tried.contains(&member.id) {
            self.counts.repeated += 1;
            let skipped = before
                .iter()
                .filter(|&&&(at, _)| at.is_favored() == position.is_favored() && !joiner.search.has_passed(at));
            assert_eq!(skipped.count(), MAX_SKIPPED);
            assert!(!joiner.search.has_passed(position), "a membership is selected once in a search");
        }

        joiner.tried.insert(member.id);
        joiner.search.record(&selection.expect("checked above"), &self.members);
        if joiner.tried.len() > 2 * self.members.id_count() + SPARE_TRIED {
            joiner.tried.retain(|&id| self.members.contains_id(id));
        }
        assert_eq!(joiner.search.tried_ids(), Vec::from_iter(joiner.tried.iter().copied()));
        Some(member.id)
    }
}

impl Joiner {
    /// Returns whether the search may miss an id until it starts over: a member took the id during the search, and
    /// [`MAX_RENAMED`] other members have changed their ids since.
    fn may_miss(&self, id: MemberId, renames: &[(Position, MemberId)]) -> bool {
        let during = &renames[self.since..];
        during.iter().position(|&(_, to)| to == id).is_some_and(|at| {
            let since = during[at + 1..].iter().filter(|(position, _)| *position != during[at].0);
            since.map(|(position, _)| position).collect::<BTreeSet<_>>().len() >= MAX_RENAMED
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn selection_visits_few_members_in_a_random_history(steps in vec(step(), 0..40)) {
        let mut history = History::default();
        steps.iter().for_each(|step| history.apply(step));
    }
}

/// A history with this number of members, all of which the first joiner has tried.
fn tried(count: usize, favored: bool) -> History {
    let mut history = History::default();
    history.apply(&Step::BecomeMembers { count, favored, ids: Ids::Unused });
    (0..count).for_each(|_| _ = history.connect(0));
    assert_eq!(history.joiners[0].tried.len(), count);
    history
}

#[test]
fn search_that_missed_renamed_members_finds_them_after_it_starts_over() {
    const COUNT: usize = 2 * MAX_RENAMED;
    let mut history = tried(COUNT, false);
    let new_ids = history.ids(Ids::Unused, COUNT);
    new_ids.iter().enumerate().for_each(|(at, &id)| history.rename(at, id));
    let marked = Vec::from_iter((0..MAX_RENAMED).filter_map(|_| history.connect(0)));
    assert_eq!(marked, new_ids[COUNT - MAX_RENAMED..]);
    assert_eq!((history.counts.missed > 0, history.counts.restarts), (true, 0));
    let all = Vec::from_iter((0..COUNT).filter_map(|_| history.connect(0)));
    assert_eq!((all, history.counts.restarts), (new_ids, 1));
}

#[test]
fn searches_of_990_joiners_among_2500_renamed_members_visit_few_members() {
    let mut history = tried(100, false);
    history.apply(&Step::BecomeMembers { count: 2400, favored: false, ids: Ids::Unused });
    let new_ids = history.ids(Ids::Unused, 2500);
    // The members that every joiner has tried are the last ones to change their ids.
    (0..2500).rev().for_each(|at| history.rename(at, new_ids[at]));
    let search = &history.joiners[0].search;
    let (mut visits, mut selections) = (0, 0);
    for mut search in vec![search.clone(); 990] {
        for _ in 0..MAX_RENAMED {
            let selection = search.select_counting(&history.members, JOINER, || visits += 1);
            search.record(&selection.expect("the group has members"), &history.members);
            selections += 1;
        }
    }
    assert_eq!(visits, selections * MAX_RENAMED, "each visits all marked members, and selects one of them");
}

#[test]
fn renaming_one_member_repeatedly_drops_no_other_mark() {
    let mut history = tried(MAX_RENAMED, false);
    let new_ids = history.ids(Ids::Unused, MAX_RENAMED);
    new_ids.iter().enumerate().for_each(|(at, &id)| history.rename(at, id));
    for id in history.ids(Ids::Unused, 1000) {
        history.rename(1, id);
    }
    (0..MAX_RENAMED).for_each(|_| _ = history.connect(0));
    assert_eq!((history.counts.missed, history.counts.restarts), (0, 0));
}

#[test]
fn search_skips_each_returned_member_once() {
    for favored in [true, false] {
        let count = MAX_SKIPPED - 1;
        let mut history = tried(count, favored);
        history.apply(&Step::Return { first: 0, count });
        history.apply(&Step::BecomeMembers { count: 2, favored: false, ids: Ids::Unused });
        let visits = [(); 2].map(|()| {
            let mut visits = 0;
            let search = &history.joiners[0].search;
            search.select_counting(&history.members, JOINER, || visits += 1);
            history.connect(0);
            visits
        });
        assert_eq!(visits, [count + 1, 1]);
        assert_eq!((history.counts.repeated, history.counts.restarts), (0, 0));
    }
}

#[test]
fn search_selects_the_next_member_after_it_has_skipped_the_maximum_in_a_row() {
    for favored in [true, false] {
        let mut history = tried(MAX_SKIPPED + 1, favored);
        let ids = Vec::from_iter(history.joiners[0].tried.iter().copied());
        history.apply(&Step::Return { first: 0, count: MAX_SKIPPED + 1 });
        let new = history.ids(Ids::Unused, 1)[0];
        history.insert(new, favored);
        assert_eq!([(); 2].map(|()| history.connect(0)), [Some(ids[MAX_SKIPPED]), Some(new)]);
        assert_eq!((history.counts.repeated, history.counts.restarts), (1, 0));
    }
}
