//! One test for each rule of the member list.

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
    members.advance(&mut cursor, positions[1]);
    let first = |is_tried: fn(&Member) -> bool| members.find_candidate(cursor, is_tried).map(|(_, member)| member.id.0);
    assert_eq!((first(|_| false), first(|member| member.id.0 == 9)), (Some(9), Some(3)));
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
fn only_member_is_none_unless_there_is_exactly_one() {
    let mut members = Members::default();
    assert_eq!(members.only(), None);
    members.insert(member(1, 5), false);
    assert_eq!(members.only(), Some(member(1, 5)));
    members.insert(member(2, 5), false);
    assert_eq!(members.only(), None);
}

#[test]
fn contains_any_id_finds_the_last_of_many_ids_in_small_and_large_groups() {
    for count in [0, 1, 2, MAX_SCANS, MAX_SCANS + 1, 1000] {
        let mut members = Members::default();
        (0..count as u64).for_each(|n| _ = members.insert(member(n, n as u32), n % 2 == 0));
        for len in [0, 1, 2, MAX_SCANS, 63, 64, 65, 512] {
            let absent = vec![MemberId(u32::MAX); len];
            assert!(!members.contains_any_id(&absent), "{count} members, {len} absent ids");
            for in_use in 0..count as u32 {
                let named = [&absent[..], &[MemberId(in_use)]].concat();
                assert!(members.contains_any_id(&named), "{count} members, {len} absent ids, then {in_use}");
            }
        }
    }
}

#[test]
fn ids_are_scanned_if_few_are_in_use_and_more_are_named() {
    let scanned = [(1, 1), (1, 512), (3, 3), (MAX_SCANS, MAX_SCANS), (MAX_SCANS, 512)];
    let looked_up = [(1, 0), (4, 3), (10_000, 3), (MAX_SCANS, 63), (MAX_SCANS + 1, 512), (10_000, 20_000)];
    assert!(scanned.iter().all(|&(ids_in_use, named)| is_scan_cheaper(ids_in_use, named)));
    assert!(!looked_up.iter().any(|&(ids_in_use, named)| is_scan_cheaper(ids_in_use, named)));
}

#[test]
fn last_members_that_changed_their_ids_are_marked_until_they_are_removed() {
    let mut members = Members::default();
    let count = MAX_RENAMED + 2;
    let positions: Vec<_> = (0..count).map(|n| members.insert(member(n as u64, n as u32), false)).collect();
    let marked = |members: &Members| (0..count).filter(|&at| members.is_renamed(positions[at])).collect::<Vec<_>>();
    for (at, &position) in positions.iter().enumerate() {
        members.rename(position, MemberId(at as u32), MemberId(1000 + at as u32));
        members.rename(position, MemberId(1000 + at as u32), MemberId(1000 + at as u32));
    }
    assert_eq!(marked(&members), Vec::from_iter(2..count));
    members.rename(positions[2], MemberId(1002), MemberId(2002));
    members.rename(positions[0], MemberId(1000), MemberId(2000));
    members.remove(positions[5], MemberId(1005));
    assert_eq!(marked(&members), [&[0, 2][..], &[4], &Vec::from_iter(6..count)].concat());
}
