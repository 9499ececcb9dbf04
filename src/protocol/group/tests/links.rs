//! One test for each rule of links and their contents.

use super::*;

#[test]
fn content_is_relayed_along_the_link_in_both_directions() {
    let (mut scene, link) = pair();
    for recipient in [0, 1] {
        assert_eq!(scene.send(2, recipient, false), [to_member(1, link, "data")]);
    }
    assert_eq!(scene.send(1, link.value(), false), [to_joiner(2, link, "data")]);
}

#[test]
fn content_with_a_former_id_of_the_bound_member_is_dropped() {
    let (mut scene, link) = pair();
    scene.join(3, false);
    scene.connect(3, &[1]);
    scene.connect_as(1, 50, &[3]);
    assert_eq!(scene.send(2, 50, false), [to_member(1, link, "data")]);
    assert_eq!(scene.send(2, 1, false), []);
}

#[test]
fn content_without_a_receiver_is_dropped() {
    let (mut scene, link) = pair();
    scene.join(3, false);
    for (peer, recipient) in [(1, 0), (1, 1), (1, 2), (1, 99), (2, 99), (2, link.value()), (3, 0), (3, link.value())] {
        assert_eq!(scene.send(peer, recipient, false), [], "{peer} to {recipient}");
    }
}

#[test]
fn peer_that_is_joiner_and_member_reaches_its_member_and_its_own_joiner() {
    let (mut scene, first) = pair();
    scene.connect(2, &[1]);
    scene.join(3, false);
    scene.connect(3, &[]);
    scene.connect(3, &[]);
    let second = scene.link();
    assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(2)));
    assert_eq!(scene.send(2, second.value(), false), [to_joiner(3, second, "data")]);
    assert_eq!(scene.send(2, 0, false), [to_member(1, first, "data")]);
}

#[test]
fn last_data_ends_one_direction_and_the_link_when_both_have_ended() {
    let (mut scene, link) = pair();
    assert_eq!(scene.send(2, 0, true), [to_member(1, link, "data")]);
    assert_eq!(scene.send(2, 0, false), []);
    assert_eq!(scene.send(1, link.value(), true), [to_joiner(2, link, "data")]);
    assert!(!scene.group.has_link(link));
}

#[test]
fn other_end_receives_one_empty_content_when_a_peer_leaves() {
    let (mut scene, link) = pair();
    assert_eq!(scene.leave(2), [to_member(1, link, "")]);
    let (mut scene, link) = pair();
    assert_eq!(scene.leave(1), [to_joiner(2, link, "")]);
    assert_eq!(scene.leave(2), []);
}

#[test]
fn older_of_two_links_between_the_same_peers_ends_first() {
    let (mut scene, first) = pair();
    scene.connect(2, &[1]);
    scene.connect(1, &[]);
    let second = scene.link();
    assert_eq!(scene.leave(1), [to_joiner(2, first, ""), to_member(2, second, "")]);
    let (mut scene, first) = pair();
    scene.connect(2, &[1]);
    scene.connect(1, &[]);
    let second = scene.link();
    assert_eq!(scene.leave(2), [to_member(1, first, ""), to_joiner(1, second, "")]);
}

#[test]
fn leave_sends_nothing_in_a_direction_that_has_ended() {
    let (mut scene, _) = pair();
    scene.send(2, 0, true);
    assert_eq!(scene.leave(2), []);
    let (mut scene, link) = pair();
    scene.send(2, 0, true);
    assert_eq!(scene.leave(1), [to_joiner(2, link, "")]);
}

#[test]
fn binding_a_joiner_again_removes_its_old_link_silently() {
    let mut scene = two_members_and_a_peer();
    scene.connect(3, &[]);
    let old = scene.link();
    assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
    assert_eq!(scene.send(1, old.value(), false), []);
    assert_eq!(scene.leave(1), []);
}

#[test]
fn link_stays_when_its_member_loses_its_membership() {
    let (mut scene, link) = pair();
    scene.join(3, false);
    scene.connect(3, &[1]);
    assert_eq!(scene.connect(1, &[]), [answer(1, false)]);
    assert_eq!(scene.send(1, link.value(), false), [to_joiner(2, link, "data")]);
    assert_eq!(scene.send(2, 0, false), [to_member(1, link, "data")]);
}

#[test]
fn links_of_an_evicted_member_end_when_it_leaves() {
    let (mut scene, link) = pair();
    scene.connect(2, &[]);
    assert!(scene.group.has_link(link));
    assert_eq!(scene.leave(1), [to_joiner(2, link, "")]);
}

#[test]
fn link_id_is_released_when_it_is_not_used_and_when_its_link_is_removed() {
    let mut group = Group::new();
    let mut releases = |event| {
        let mut actions = Vec::new();
        group.handle(event, &mut actions);
        actions.retain(|action| matches!(action, Action::ReleaseLink(_)));
        actions
    };
    let [one, two] = [1, 2].map(|id| LinkId::new(id).expect("31 bits"));
    let connect = |peer, new_link| Event::Connect {
        peer: PeerId(peer),
        id: MemberId(peer as u32),
        members: vec![],
        new_link,
        now: Duration::ZERO,
    };
    releases(Event::Join { peer: PeerId(1), favored: false });
    releases(Event::Join { peer: PeerId(2), favored: false });
    assert_eq!(releases(connect(1, one)), [Action::ReleaseLink(one)]);
    assert_eq!(releases(connect(2, two)), []);
    assert_eq!(releases(Event::Leave { peer: PeerId(1) }), [Action::ReleaseLink(two)]);
}
