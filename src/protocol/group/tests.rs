//! One test for each rule of a group: membership here, links in `links`.

use bytes::Bytes;

use super::*;

mod links;

/// A group whose peers are numbers, and whose link ids count up from 1001.
#[derive(Default)]
struct Scene {
    group: Group,
    links: u32,
    now: Duration,
}

impl Scene {
    /// Creates a group with the regular peers from 1 to `count`, which are not members.
    fn of(count: u64) -> Self {
        let mut scene = Self::default();
        (1..=count).for_each(|peer| scene.join(peer, false));
        scene
    }

    /// Returns all actions but `ReleaseLink`.
    fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.group.handle(event, &mut actions);
        self.group.assert_invariants();
        actions.retain(|action| !matches!(action, Action::ReleaseLink(_)));
        actions
    }

    fn join(&mut self, peer: u64, favored: bool) {
        assert_eq!(self.handle(Event::Join { peer: PeerId(peer), favored }), []);
    }

    /// Peer n connects with the id n.
    fn connect(&mut self, peer: u64, members: &[u32]) -> Vec<Action> {
        self.connect_as(peer, peer as u32, members)
    }

    fn connect_as(&mut self, peer: u64, id: u32, members: &[u32]) -> Vec<Action> {
        self.links += 1;
        let members = members.iter().copied().map(MemberId).collect();
        let new_link = self.link();
        self.handle(Event::Connect { peer: PeerId(peer), id: MemberId(id), members, new_link, now: self.now })
    }

    fn send(&mut self, peer: u64, recipient: u32, last: bool) -> Vec<Action> {
        let data = Bytes::from_static(b"data");
        self.handle(Event::Content { peer: PeerId(peer), recipient, last, data })
    }

    fn leave(&mut self, peer: u64) -> Vec<Action> {
        self.handle(Event::Leave { peer: PeerId(peer) })
    }

    /// The link id of the last connect.
    fn link(&self) -> LinkId {
        LinkId::new(1000 + self.links).expect("few links")
    }
}

fn answer(to: u64, member: bool) -> Action {
    Action::Send { to: PeerId(to), message: Message::Connected(member) }
}

fn eviction(peer: u64) -> Action {
    Action::Close { peer: PeerId(peer), code: CloseCode::BlockingMember }
}

fn to_member(to: u64, link: LinkId, data: &'static str) -> Action {
    Action::Send { to: PeerId(to), message: Message::from_joiner(link, data.into()) }
}

fn to_joiner(to: u64, link: LinkId, data: &'static str) -> Action {
    Action::Send { to: PeerId(to), message: Message::from_member(link, data.into()) }
}

/// Peer 1 is the member. Peer 2 is bound to it by the returned link.
fn pair() -> (Scene, LinkId) {
    let mut scene = Scene::of(2);
    scene.connect(1, &[]);
    assert_eq!(scene.connect(2, &[]), [answer(2, false)]);
    let link = scene.link();
    (scene, link)
}

/// Peers 1 and 2 are members. Peer 3 is not.
fn two_members_and_a_peer() -> Scene {
    let mut scene = Scene::of(3);
    scene.connect(1, &[]);
    scene.connect(2, &[1]);
    scene
}

#[test]
fn rule_1_first_peer_to_connect_becomes_the_first_member() {
    let mut scene = Scene::of(2);
    assert_eq!(scene.connect(2, &[7, 8]), [answer(2, true)]);
    assert_eq!(scene.group.order(), [PeerId(2)]);
}

#[test]
fn rule_2_only_member_is_answered_true_and_keeps_its_id() {
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
fn rule_3_member_can_name_its_current_id_but_not_its_new_one() {
    let mut scene = two_members_and_a_peer();
    assert_eq!(scene.connect_as(1, 9, &[1]), [answer(1, true)]);
    assert_eq!(scene.connect_as(1, 8, &[8]), [answer(1, false)]);
}

#[test]
fn rule_3_member_takes_the_new_id_and_keeps_its_position() {
    let mut scene = two_members_and_a_peer();
    scene.connect_as(1, 9, &[2]);
    assert_eq!(scene.group.order(), [1, 2].map(PeerId));
    assert_eq!(scene.connect(3, &[1]), [answer(3, false)]);
    assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(1)));
    assert_eq!(scene.connect(3, &[9]), [answer(3, true)]);
}

#[test]
fn rule_3_precedes_rule_4() {
    let (mut scene, link) = pair();
    assert_eq!(scene.connect(2, &[1]), [answer(2, true)]);
    assert_eq!(scene.send(2, 0, false), [to_member(1, link, "data")]);
}

#[test]
fn rule_4_only_member_is_evicted_when_a_peer_that_tried_it_connects_again() {
    let (mut scene, _) = pair();
    assert_eq!(scene.connect(2, &[]), [eviction(1), answer(2, true)]);
    assert_eq!(scene.group.order(), [PeerId(2)]);
}

#[test]
fn rule_4_compares_member_ids_and_not_peers() {
    let mut scene = Scene::of(3);
    scene.connect_as(1, 7, &[]);
    scene.connect(3, &[]);
    scene.leave(1);
    scene.connect_as(2, 7, &[]);
    assert_eq!(scene.connect(3, &[]), [eviction(2), answer(3, true)]);
}

#[test]
fn rule_4_ignores_members_tried_before_the_search_started_over() {
    // Peer 3 is bound to 1, then to 2, then to 1 again. The third time its search starts over and forgets 2.
    let mut scene = two_members_and_a_peer();
    (0..3).for_each(|_| assert_eq!(scene.connect(3, &[]), [answer(3, false)]));
    scene.leave(1);
    assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
    assert_eq!(scene.connect(3, &[]), [eviction(2), answer(3, true)]);
}

#[test]
fn rule_4_protects_a_member_until_its_eviction_min_age() {
    let mut scene = Scene { group: Group::with_eviction_min_age(Duration::from_secs(10)), ..Scene::default() };
    (1..=2).for_each(|peer| scene.join(peer, false));
    scene.now = Duration::from_secs(100);
    assert_eq!(scene.connect(1, &[]), [answer(1, true)]);
    scene.now += Duration::from_secs(5);
    assert_eq!(scene.connect(1, &[]), [answer(1, true)], "another connect does not change its age");
    for _ in 0..3 {
        scene.now += Duration::from_secs(1);
        assert_eq!(scene.connect(2, &[]), [answer(2, false)]);
        assert_eq!(scene.send(2, 0, false).len(), 1, "its link works");
    }
    scene.now = Duration::from_secs(110);
    assert_eq!(scene.connect(2, &[]), [eviction(1), answer(2, true)]);
}

#[test]
fn renaming_a_member_does_not_change_its_age() {
    let mut scene = Scene { group: Group::with_eviction_min_age(Duration::from_secs(10)), ..Scene::default() };
    (1..=3).for_each(|peer| scene.join(peer, false));
    scene.connect(1, &[]);
    scene.connect(2, &[1]);
    scene.now = Duration::from_secs(9);
    assert_eq!(scene.connect_as(1, 7, &[2]), [answer(1, true)]);
    scene.leave(2);
    assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
    scene.now = Duration::from_secs(10);
    assert_eq!(scene.connect(3, &[]), [eviction(1), answer(3, true)]);
}

#[test]
fn connect_of_an_evicted_peer_is_ignored() {
    let (mut scene, _) = pair();
    scene.connect(2, &[]);
    assert_eq!(scene.connect(1, &[2]), []);
    assert_eq!(scene.group.order(), [PeerId(2)]);
}

#[test]
fn rule_5_joiner_is_bound_to_each_member_in_order_and_then_starts_over() {
    let mut scene = two_members_and_a_peer();
    for member in [1, 2, 1, 2] {
        assert_eq!(scene.connect(3, &[]), [answer(3, false)]);
        assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(member)));
    }
}

#[test]
fn rule_5_joiner_is_bound_to_favored_members_first() {
    let mut scene = two_members_and_a_peer();
    scene.join(4, true);
    scene.connect(4, &[1]);
    for member in [4, 1, 2, 4] {
        scene.connect(3, &[]);
        assert_eq!(scene.group.bound_to(PeerId(3)), Some(PeerId(member)));
    }
}

#[test]
fn rule_5_member_that_names_no_member_loses_its_membership_and_returns_as_the_last_one() {
    let mut scene = two_members_and_a_peer();
    scene.connect(3, &[1]);
    assert_eq!(scene.connect(1, &[]), [answer(1, false)]);
    assert_eq!(scene.group.bound_to(PeerId(1)), Some(PeerId(2)));
    assert_eq!(scene.group.order(), [2, 3].map(PeerId));
    assert_eq!(scene.connect(1, &[2]), [answer(1, true)]);
    assert_eq!(scene.group.order(), [2, 3, 1].map(PeerId));
}

#[test]
fn becoming_a_member_clears_the_search() {
    let (mut scene, _) = pair();
    scene.connect(2, &[1]);
    assert_eq!(scene.connect(2, &[]), [answer(2, false)], "1 was tried before, but does not block now");
}

#[test]
fn peer_returns_the_roles_of_each_peer() {
    let (mut scene, link) = pair();
    let member = PeerRoles { member_id: Some(MemberId(1)), link: None, joiners: 1 };
    let joiner = PeerRoles { member_id: None, link: Some(link), joiners: 0 };
    assert_eq!([1, 2, 3].map(|peer| scene.group.peer(PeerId(peer))), [Some(member), Some(joiner), None]);
    scene.connect(2, &[1]);
    let both = PeerRoles { member_id: Some(MemberId(2)), ..joiner };
    assert_eq!(scene.group.peer(PeerId(2)), Some(both));
}

#[test]
fn counts_match_peers_members_and_links() {
    let counts = |scene: &Scene| (scene.group.peer_count(), scene.group.member_count(), scene.group.link_count());
    let mut scene = two_members_and_a_peer();
    assert_eq!(counts(&scene), (3, 2, 0));
    scene.connect(3, &[]);
    assert_eq!(counts(&scene), (3, 2, 1));
    scene.leave(1);
    assert_eq!(counts(&scene), (2, 1, 0));
}

#[test]
fn eviction_min_age_returns_the_value_of_the_constructor() {
    let min_age = Duration::from_secs(10);
    assert_eq!(Group::with_eviction_min_age(min_age).eviction_min_age(), min_age);
    assert_eq!(Group::new().eviction_min_age(), Duration::ZERO);
}

#[test]
fn handle_returns_the_outcome_for_the_peer_of_the_event() {
    let mut scene = Scene::of(2);
    let mut outcome = |event| scene.group.handle(event, &mut Vec::new());
    let connect = |peer, link| Event::Connect {
        peer: PeerId(peer),
        id: MemberId(peer as u32),
        members: vec![],
        new_link: LinkId::new(link).expect("31 bits"),
        now: Duration::ZERO,
    };
    let content =
        |recipient, last| Event::Content { peer: PeerId(2), recipient, last, data: Bytes::from_static(b"data") };
    assert_eq!(outcome(Event::Join { peer: PeerId(3), favored: false }), Outcome::Nothing);
    assert_eq!(outcome(connect(1, 1)), Outcome::Answered { member: true });
    assert_eq!(outcome(connect(2, 2)), Outcome::Answered { member: false });
    assert_eq!(outcome(content(0, true)), Outcome::Relayed { bytes: 4 });
    assert_eq!(outcome(content(0, false)), Outcome::Nothing, "this direction has ended");
    assert_eq!(outcome(content(9, false)), Outcome::Nothing, "unknown recipient");
    assert_eq!(outcome(connect(2, 3)), Outcome::Answered { member: true });
    assert_eq!(outcome(connect(1, 4)), Outcome::Nothing, "1 was evicted");
    assert_eq!(outcome(Event::Leave { peer: PeerId(1) }), Outcome::Nothing);
}
