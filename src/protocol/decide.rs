//! The decision on one `connect`: the five rules in the documentation of [`super`], as a pure function.

use std::time::Duration;

use super::members::Members;
use super::search::{Search, Selection};
use super::{MemberId, PeerId};

/// A `connect` that is to be decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectRequest<'a, P = PeerId> {
    /// The peer that connects.
    pub(crate) peer: P,
    /// The ids that it names.
    pub(crate) named: &'a [MemberId],
    /// The time, on the clock of [`super::members::Member::new`].
    pub(crate) now: Duration,
    /// The time for which a member is protected from eviction after it became a member.
    pub(crate) eviction_min_age: Duration,
}

/// The answer to a `connect`, and what the caller must change. All but `Bind` answer that the peer is a
/// member (`connected: true` on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision<P = PeerId> {
    /// Nothing changes, not even the id of the member that connects.
    Keep,
    /// The peer becomes a member, or stays one under its new id. Its search is cleared.
    MakeMember,
    /// This member blocks and is evicted. The peer becomes a member, and its search is cleared.
    EvictAndMakeMember(P),
    /// The peer loses its membership if it has one, and is bound to the selected member. The answer is
    /// `connected: false`, and its search records the selection.
    Bind(Selection<P>),
}

/// Decides a `connect` of a peer with this search, in O(log n + named ids) for any choice of ids. Changes nothing.
///
/// [`Members::contains_any_id`] and [`Search::select`] state what each part costs.
///
/// The search of a member is empty, because becoming a member clears it.
pub(crate) fn decide<P: Copy + Eq>(
    members: &Members<P>,
    search: &Search,
    request: ConnectRequest<'_, P>,
) -> Decision<P> {
    let ConnectRequest { peer, named, now, eviction_min_age } = request;

    // Rule 1: a peer that connects to a group without members becomes the first member.
    if members.is_empty() {
        return Decision::MakeMember;
    }

    // Rule 2: the only member stays a member and keeps its id.
    let only = members.only();
    if only.is_some_and(|only| only.peer == peer) {
        return Decision::Keep;
    }

    // Rule 3: a peer that names the id of a current member, itself included, becomes or stays a member.
    if members.contains_any_id(named) {
        return Decision::MakeMember;
    }

    // Rule 4: if the peer has tried the only member's id, that member blocks and is evicted, unless it is too young.
    if let Some(only) = only
        && search.has_tried(only.id)
        && only.age(now) >= eviction_min_age
    {
        return Decision::EvictAndMakeMember(only.peer);
    }

    // Rule 5: otherwise the peer is bound to the first other member that it has not tried. If it has tried them all,
    // its search starts over.
    let selection = search.select(members, peer);
    Decision::Bind(selection.expect("rules 1 and 2 leave a group with a member other than this peer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::members::Member;

    /// The peer that connects, unless a test uses another one. Not a member.
    const JOINER: u64 = 99;

    /// Regular members. Each has its peer number as its id.
    fn members(peers: &[u64]) -> Members {
        let mut members = Members::default();
        for &peer in peers {
            members.insert(member(peer, peer as u32), false);
        }
        members
    }

    fn member(peer: u64, id: u32) -> Member {
        Member::new(PeerId(peer), MemberId(id), Duration::from_secs(100))
    }

    /// A search of the joiner that has tried the next `count` members.
    fn tried(members: &Members, count: usize) -> Search {
        let mut search = Search::default();
        for _ in 0..count {
            let selection = search.select(members, PeerId(JOINER)).expect("the group has members");
            search.record(&selection, members);
        }
        search
    }

    fn decide_at(seconds: u64, members: &Members, search: &Search, peer: u64, named: &[u32]) -> Decision {
        let named: Vec<_> = named.iter().copied().map(MemberId).collect();
        let (now, eviction_min_age) = (Duration::from_secs(seconds), Duration::from_secs(10));
        decide(members, search, ConnectRequest { peer: PeerId(peer), named: &named, now, eviction_min_age })
    }

    /// Decides at a time when no member is protected from eviction.
    fn decide_late(members: &Members, search: &Search, peer: u64, named: &[u32]) -> Decision {
        decide_at(1000, members, search, peer, named)
    }

    /// The peer that a decision binds to.
    fn bound(decision: Decision) -> Option<u64> {
        match decision {
            Decision::Bind(selection) => Some(selection.member.peer.0),
            _ => None,
        }
    }

    #[test]
    fn rule_1_first_peer_becomes_a_member_whatever_it_names() {
        let (none, search) = (Members::default(), Search::default());
        assert_eq!(decide_late(&none, &search, JOINER, &[]), Decision::MakeMember);
        assert_eq!(decide_late(&none, &search, JOINER, &[7, 8]), Decision::MakeMember);
    }

    #[test]
    fn rule_1_applies_to_a_peer_that_has_searched_before() {
        let search = tried(&members(&[1]), 1);
        assert_eq!(decide_late(&Members::default(), &search, JOINER, &[]), Decision::MakeMember);
    }

    #[test]
    fn rule_2_only_member_keeps_its_membership_and_id() {
        let (one, search) = (members(&[1]), Search::default());
        assert_eq!(decide_late(&one, &search, 1, &[]), Decision::Keep);
        assert_eq!(decide_late(&one, &search, 1, &[1]), Decision::Keep, "rule 2 precedes rule 3");
        assert_eq!(decide_late(&one, &search, 1, &[7]), Decision::Keep);
    }

    #[test]
    fn rule_2_does_not_apply_to_one_of_two_members_with_one_id() {
        let mut two = members(&[1]);
        two.insert(member(2, 1), false);
        assert_eq!(bound(decide_late(&two, &Search::default(), 1, &[])), Some(2));
    }

    #[test]
    fn rule_3_naming_one_current_member_is_enough() {
        let (two, search) = (members(&[1, 2]), Search::default());
        assert_eq!(decide_late(&two, &search, JOINER, &[7, 2]), Decision::MakeMember);
        assert_eq!(decide_late(&two, &search, 1, &[2]), Decision::MakeMember);
        assert_eq!(bound(decide_late(&two, &search, JOINER, &[7, 8])), Some(1));
    }

    #[test]
    fn rule_3_counts_the_current_id_of_the_member_that_connects() {
        let (two, search) = (members(&[1, 2]), Search::default());
        assert_eq!(decide_late(&two, &search, 1, &[1]), Decision::MakeMember);
    }

    #[test]
    fn rule_3_precedes_rule_4() {
        let one = members(&[1]);
        assert_eq!(decide_late(&one, &tried(&one, 1), JOINER, &[1]), Decision::MakeMember);
    }

    #[test]
    fn rule_4_only_member_that_was_tried_is_evicted() {
        let one = members(&[1]);
        assert_eq!(bound(decide_late(&one, &Search::default(), JOINER, &[])), Some(1));
        assert_eq!(decide_late(&one, &tried(&one, 1), JOINER, &[7]), Decision::EvictAndMakeMember(PeerId(1)));
    }

    #[test]
    fn rule_4_compares_ids_and_not_peers() {
        let search = tried(&members(&[1]), 1);
        let mut successor = Members::default();
        successor.insert(member(2, 1), false);
        assert_eq!(decide_late(&successor, &search, JOINER, &[]), Decision::EvictAndMakeMember(PeerId(2)));
        assert_eq!(bound(decide_late(&members(&[2]), &search, JOINER, &[])), Some(2));
    }

    #[test]
    fn rule_4_does_not_apply_to_two_members() {
        let two = members(&[1, 2]);
        assert_eq!(bound(decide_late(&two, &tried(&two, 2), JOINER, &[])), Some(1));
    }

    #[test]
    fn rule_4_protects_a_member_below_the_eviction_min_age() {
        let one = members(&[1]);
        let search = tried(&one, 1);
        assert_eq!(bound(decide_at(109, &one, &search, JOINER, &[])), Some(1));
        assert_eq!(decide_at(110, &one, &search, JOINER, &[]), Decision::EvictAndMakeMember(PeerId(1)));
    }

    #[test]
    fn rule_5_binds_to_each_member_in_order_and_then_starts_over() {
        let three = members(&[1, 2, 3]);
        let order: Vec<_> =
            (0..5).map(|count| bound(decide_late(&three, &tried(&three, count), JOINER, &[]))).collect();
        assert_eq!(order, [1, 2, 3, 1, 2].map(Some));
    }

    #[test]
    fn rule_5_binds_to_favored_members_first() {
        let mut three = members(&[1, 2]);
        three.insert(member(3, 3), true);
        assert_eq!(bound(decide_late(&three, &Search::default(), JOINER, &[])), Some(3));
    }

    #[test]
    fn rule_5_binds_a_member_that_names_no_member_to_another_one() {
        let (two, search) = (members(&[1, 2]), Search::default());
        assert_eq!(bound(decide_late(&two, &search, 1, &[])), Some(2));
        assert_eq!(bound(decide_late(&two, &search, 2, &[7])), Some(1));
    }
}
