//! One test for each rule of a group.

use super::*;

/// A group whose peers are numbers, and whose link ids count up from 1001.
#[derive(Default)]
struct Scene {
    group: Group,
    links: u32,
    now: Duration,
}

impl Scene {
    /// Peers 1 to `count`, none of them favored, none a member yet.
    fn of(count: u64) -> Self {
        let mut scene = Self::default();
        (1..=count).for_each(|peer| scene.join(peer, false));
        scene
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.group.handle(event, &mut out);
        self.group.assert_sound();
        out.retain(|action| !matches!(action, Action::Release(_)));
        out
    }

    fn join(&mut self, peer: u64, favored: bool) {
        assert_eq!(self.handle(Event::Join { peer: PeerId(peer), favored }), []);
    }

    /// Peer n asks with the id n.
    fn connect(&mut self, peer: u64, members: &[u32]) -> Vec<Action> {
        self.connect_as(peer, peer as u32, members)
    }

    fn connect_as(&mut self, peer: u64, id: u32, members: &[u32]) -> Vec<Action> {
        self.links += 1;
        let members = members.iter().copied().map(MemberId).collect();
        let fresh = LinkId::new(1000 + self.links).expect("few links");
        self.handle(Event::Connect { peer: PeerId(peer), id: MemberId(id), members, fresh, now: self.now })
    }

    fn say(&mut self, peer: u64, recipient: u32, last: bool) -> Vec<Action> {
        let data = Bytes::from_static(b"data");
        self.handle(Event::Content { peer: PeerId(peer), recipient, last, data })
    }

    fn leave(&mut self, peer: u64) -> Vec<Action> {
        self.handle(Event::Leave { peer: PeerId(peer) })
    }

    /// The link that was made last.
    fn link(&self) -> LinkId {
        LinkId::new(1000 + self.links).expect("few links")
    }
}

fn answer(to: u64, admitted: bool) -> Action {
    Action::Send { to: PeerId(to), message: Message::Connected(admitted) }
}

fn to_member(to: u64, link: LinkId, data: &'static str) -> Action {
    Action::Send { to: PeerId(to), message: Message::from_joiner(link, data.into()) }
}

fn to_joiner(to: u64, link: LinkId, data: &'static str) -> Action {
    Action::Send { to: PeerId(to), message: Message::from_member(link, data.into()) }
}

/// Peer 1 is the member; peer 2 is bound to it by the link that is returned.
fn pair() -> (Scene, LinkId) {
    let mut scene = Scene::of(2);
    scene.connect(1, &[]);
    assert_eq!(scene.connect(2, &[]), [answer(2, false)]);
    let link = scene.link();
    (scene, link)
}

/// Peers 1 and 2 are members; peer 3 is none.
fn two_members_and_a_peer() -> Scene {
    let mut scene = Scene::of(3);
    scene.connect(1, &[]);
    scene.connect(2, &[1]);
    scene
}

#[test]
fn rule_1_the_first_peer_to_ask_becomes_the_first_member() {
    let mut scene = Scene::of(2);
    assert_eq!(scene.connect(2, &[7, 8]), [answer(2, true)]);
    assert_eq!(scene.group.order(), [PeerId(2)]);
}

#[test]
fn rule_2_the_sole_member_is_told_true_and_keeps_its_id() {
    let mut scene = Scene::of(2);
    scene.connect_as(1, 10, &[]);
    assert_eq!(scene.connect_as(1, 11, &[]), [answer(1, true)]);
    assert_eq!(scene.connect_as(1, 11, &[10]), [answer(1, true)]);
    assert_eq!(scene.connect(2, &[11]), [answer(2, false)]);
    assert_eq!(scene.connect(2, &[10]), [answer(2, true)]);
}

#[test]
fn rule_3_naming_one_current_member_is_enough() {
    let mut scene = two_members_and_a_peer();
    assert_eq!(scene.connect(3, &[99, 2]), [answer(3, true)]);
    assert_eq!(scene.group.order(), [1, 2, 3].map(PeerId));
}

#[test]
fn rule_3_a_member_counts_among_those_that_it_may_name_by_the_id_it_has() {
    let mut scene = two_members_and_a_peer();
    assert_eq!(scene.connect_as(1, 9, &[1]), [answer(1, true)]);
    assert_eq!(scene.connect_as(1, 8, &[8]), [answer(1, false)]);
}

#[test]
fn rule_3_a_member_takes_the_new_id_and_keeps_its_place() {
    let mut scene = two_members_and_a_peer();
    scene.connect_as(1, 9, &[2]);
    assert_eq!(scene.group.order(), [1, 2].map(PeerId));
    assert_eq!(scene.connect(3, &[1]), [answer(3, false)]);
    assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(1)));
    assert_eq!(scene.connect(3, &[9]), [answer(3, true)]);
}

#[test]
fn rule_3_comes_before_rule_4() {
    let (mut scene, link) = pair();
    assert_eq!(scene.connect(2, &[1]), [answer(2, true)]);
    assert_eq!(scene.say(2, 0, false), [to_member(1, link, "data")]);
}

#[test]
fn with_a_minimum_stay_a_member_blocks_only_after_it_and_who_asks_before_is_bound_again() {
    let mut scene = Scene { group: Group::with_min_stay(Duration::from_secs(10)), ..Scene::default() };
    (1..=2).for_each(|peer| scene.join(peer, false));
    scene.now = Duration::from_secs(100);
    assert_eq!(scene.connect(1, &[]), [answer(1, true)]);
    scene.now += Duration::from_secs(5);
    assert_eq!(scene.connect(1, &[]), [answer(1, true)], "asking again does not make its stay shorter");
    for _ in 0..3 {
        scene.now += Duration::from_secs(1);
        assert_eq!(scene.connect(2, &[]), [answer(2, false)]);
        assert_eq!(scene.say(2, 0, false).len(), 1, "its link works");
    }
    scene.now = Duration::from_secs(110);
    let evicted = Action::Close { peer: PeerId(1), code: CloseCode::BlockingMember };
    assert_eq!(scene.connect(2, &[]), [evicted, answer(2, true)]);
}

#[test]
fn rule_4_the_only_member_blocks_when_a_peer_that_tried_it_asks_again() {
    let (mut scene, _) = pair();
    let close = Action::Close { peer: PeerId(1), code: CloseCode::BlockingMember };
    assert_eq!(scene.connect(2, &[]), [close, answer(2, true)]);
    assert_eq!(scene.group.order(), [PeerId(2)]);
}

#[test]
fn rule_4_goes_by_the_member_id_and_not_by_the_peer() {
    let mut scene = Scene::of(3);
    scene.connect_as(1, 7, &[]);
    scene.connect(3, &[]);
    scene.leave(1);
    scene.connect_as(2, 7, &[]);
    let close = Action::Close { peer: PeerId(2), code: CloseCode::BlockingMember };
    assert_eq!(scene.connect(3, &[]), [close, answer(3, true)]);
}

#[test]
fn rule_4_looks_at_what_was_tried_since_the_search_started_over() {
    // Peer 3 is offered 1, then 2, then 1 again, which forgets that it tried 2.
    let mut scene = two_members_and_a_peer();
    (0..3).for_each(|_| assert_eq!(scene.connect(3, &[]), [answer(3, false)]));
    scene.leave(1);
    assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
    let close = Action::Close { peer: PeerId(2), code: CloseCode::BlockingMember };
    assert_eq!(scene.connect(3, &[]), [close, answer(3, true)]);
}

#[test]
fn a_peer_that_was_put_out_is_obeyed_no_more() {
    let (mut scene, _) = pair();
    scene.connect(2, &[]);
    assert_eq!(scene.connect(1, &[2]), []);
    assert_eq!(scene.group.order(), [PeerId(2)]);
}

#[test]
fn rule_5_members_are_offered_in_turn_and_then_from_the_start() {
    let mut scene = two_members_and_a_peer();
    for member in [1, 2, 1, 2] {
        assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
        assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(member)));
    }
}

#[test]
fn rule_5_favored_members_are_offered_first() {
    let mut scene = two_members_and_a_peer();
    scene.join(4, true);
    scene.connect(4, &[1]);
    for member in [4, 1, 2, 4] {
        scene.connect(3, &[]);
        assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(member)));
    }
}

#[test]
fn rule_5_a_member_that_names_nobody_is_a_member_no_more_and_comes_back_last() {
    let mut scene = two_members_and_a_peer();
    scene.connect(3, &[1]);
    assert_eq!(scene.connect(1, &[]), [answer(1, false)]);
    assert_eq!(scene.group.bound_to(PeerId(1)), Some(PeerId(2)));
    assert_eq!(scene.group.order(), [2, 3].map(PeerId));
    assert_eq!(scene.connect(1, &[2]), [answer(1, true)]);
    assert_eq!(scene.group.order(), [2, 3, 1].map(PeerId));
}

#[test]
fn becoming_a_member_forgets_who_was_tried() {
    let (mut scene, _) = pair();
    scene.connect(2, &[1]);
    assert_eq!(scene.connect(2, &[]), [answer(2, false)], "1 was tried before, but does not block now");
}

#[test]
fn content_goes_along_the_link_both_ways() {
    let (mut scene, link) = pair();
    for recipient in [0, 1] {
        assert_eq!(scene.say(2, recipient, false), [to_member(1, link, "data")]);
    }
    assert_eq!(scene.say(1, link.value(), false), [to_joiner(2, link, "data")]);
}

#[test]
fn content_for_the_bound_member_may_name_the_id_that_it_has_now() {
    let (mut scene, link) = pair();
    scene.join(3, false);
    scene.connect(3, &[1]);
    scene.connect_as(1, 50, &[3]);
    assert_eq!(scene.say(2, 50, false), [to_member(1, link, "data")]);
    assert_eq!(scene.say(2, 1, false), []);
}

#[test]
fn content_with_nobody_to_go_to_is_dropped() {
    let (mut scene, link) = pair();
    scene.join(3, false);
    for (peer, recipient) in [(1, 0), (1, 1), (1, 2), (1, 99), (2, 99), (2, link.value()), (3, 0), (3, link.value())] {
        assert_eq!(scene.say(peer, recipient, false), [], "{peer} to {recipient}");
    }
}

#[test]
fn a_joiner_that_became_a_member_serves_its_own_joiner_and_its_member() {
    let (mut scene, first) = pair();
    scene.connect(2, &[1]);
    scene.join(3, false);
    scene.connect(3, &[]);
    scene.connect(3, &[]);
    let second = scene.link();
    assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(2)));
    assert_eq!(scene.say(2, second.value(), false), [to_joiner(3, second, "data")]);
    assert_eq!(scene.say(2, 0, false), [to_member(1, first, "data")]);
}

#[test]
fn last_data_ends_one_direction_and_the_link_when_both_are_over() {
    let (mut scene, link) = pair();
    assert_eq!(scene.say(2, 0, true), [to_member(1, link, "data")]);
    assert_eq!(scene.say(2, 0, false), []);
    assert_eq!(scene.say(1, link.value(), true), [to_joiner(2, link, "data")]);
    assert!(!scene.group.has_link(link));
}

#[test]
fn the_other_end_is_told_once_when_a_socket_closes() {
    let (mut scene, link) = pair();
    assert_eq!(scene.leave(2), [to_member(1, link, "")]);
    let (mut scene, link) = pair();
    assert_eq!(scene.leave(1), [to_joiner(2, link, "")]);
    assert_eq!(scene.leave(2), []);
}

#[test]
fn of_two_links_between_the_same_peers_the_older_one_ends_first() {
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
fn no_end_is_told_in_a_direction_that_was_over() {
    let (mut scene, _) = pair();
    scene.say(2, 0, true);
    assert_eq!(scene.leave(2), []);
    let (mut scene, link) = pair();
    scene.say(2, 0, true);
    assert_eq!(scene.leave(1), [to_joiner(2, link, "")]);
}

#[test]
fn binding_again_ends_the_old_link_without_telling_anyone() {
    let mut scene = two_members_and_a_peer();
    scene.connect(3, &[]);
    let old = scene.link();
    assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
    assert_eq!(scene.say(1, old.value(), false), []);
    assert_eq!(scene.leave(1), []);
}

#[test]
fn a_link_lives_on_after_its_member_stops_being_one() {
    let (mut scene, link) = pair();
    scene.join(3, false);
    scene.connect(3, &[1]);
    assert_eq!(scene.connect(1, &[]), [answer(1, false)]);
    assert_eq!(scene.say(1, link.value(), false), [to_joiner(2, link, "data")]);
    assert_eq!(scene.say(2, 0, false), [to_member(1, link, "data")]);
}

#[test]
fn the_links_of_a_member_that_was_put_out_end_when_it_leaves() {
    let (mut scene, link) = pair();
    scene.connect(2, &[]);
    assert!(scene.group.has_link(link));
    assert_eq!(scene.leave(1), [to_joiner(2, link, "")]);
}

#[test]
fn a_fresh_link_id_is_released_when_it_is_not_used_and_when_its_link_is_over() {
    let mut group = Group::new();
    let mut run = |event| {
        let mut out = Vec::new();
        group.handle(event, &mut out);
        out.retain(|action| matches!(action, Action::Release(_)));
        out
    };
    let [one, two] = [1, 2].map(|id| LinkId::new(id).expect("31 bits"));
    let ask = |peer, fresh| Event::Connect {
        peer: PeerId(peer),
        id: MemberId(peer as u32),
        members: vec![],
        fresh,
        now: Duration::ZERO,
    };
    run(Event::Join { peer: PeerId(1), favored: false });
    run(Event::Join { peer: PeerId(2), favored: false });
    assert_eq!(run(ask(1, one)), [Action::Release(one)]);
    assert_eq!(run(ask(2, two)), []);
    assert_eq!(run(Event::Leave { peer: PeerId(1) }), [Action::Release(two)]);
}
