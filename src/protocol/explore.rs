//! Explores the histories of a few peers: every event in every state until no new state is found, or at random.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::{Action, CloseCode, Event, Group, LinkId, MemberId, Message, Outcome, PeerId};

/// The state after a history.
#[derive(Clone, Default)]
struct State {
    group: Group,
    joined: Vec<PeerId>,
    /// Peers that were told to close and have not left yet.
    evicted: Vec<PeerId>,
}

impl State {
    /// Returns every event that is possible next. A connect names at most one member: naming several members is
    /// equivalent to naming one of them.
    fn events(&self, Model { peers, borrowed_ids, favored }: Model) -> Vec<Event> {
        let own = |PeerId(peer): PeerId| MemberId(100 + peer as u32);
        let ids: Vec<_> = (1..=peers).map(|peer| own(PeerId(peer))).collect();
        let links = (1..).map(|id| LinkId::new(id).expect("few links"));
        let used: Vec<_> = links.clone().take(peers as usize).filter(|&link| self.group.has_link(link)).collect();
        let new_link = links.clone().find(|link| !used.contains(link)).expect("31 bits are enough");
        let mut events = Vec::new();
        for peer in (1..=peers).map(PeerId) {
            if !self.joined.contains(&peer) {
                events.push(Event::Join { peer, favored: false });
                events.extend((peer.0 <= favored).then_some(Event::Join { peer, favored: true }));
                continue;
            }
            events.push(Event::Leave { peer });
            for &id in ids.iter().filter(|&&id| borrowed_ids || id == own(peer)) {
                let named = ids.iter().map(|&id| vec![id]).chain([vec![]]);
                events.extend(named.map(|members| Event::Connect { peer, id, members, new_link, now: Duration::ZERO }));
            }
            let links = used.iter().map(|link| link.value());
            for recipient in ids.iter().map(|id| id.0).chain(links).chain([0]) {
                let content = |last| Event::Content { peer, recipient, last, data: "data".into() };
                events.extend([true, false].map(content));
            }
        }
        events
    }

    /// Returns the state after an event, and checks all invariants.
    fn after(&self, event: &Event) -> Self {
        let mut next = self.clone();
        let mut actions = Vec::new();
        let outcome = next.group.handle(event.clone(), &mut actions);
        match *event {
            Event::Join { peer, .. } => next.joined.push(peer),
            Event::Leave { peer } => {
                next.joined.retain(|&other| other != peer);
                next.evicted.retain(|&other| other != peer);
            }
            _ => {}
        }
        next.joined.sort();

        next.group.assert_invariants();
        self.assert_answered(event, &next, &actions, outcome);
        self.assert_order_kept(event, &next);
        for action in &actions {
            match *action {
                Action::Send { to, ref message } => {
                    assert!(next.joined.contains(&to), "nothing is sent to a peer that left");
                    assert!(!matches!(message, Message::Content { last: true, .. }), "lastData is never forwarded");
                }
                Action::Close { peer, code } => {
                    assert_eq!(code, CloseCode::BlockingMember);
                    assert!(!next.group.order().contains(&peer), "an evicted peer is not a member");
                    next.evicted.push(peer);
                }
                Action::ReleaseLink(link) => assert!(!next.group.has_link(link), "a released id is not in use"),
            }
        }
        self.assert_link_ids_kept(event, &next, &actions);
        if next.joined.is_empty() {
            assert_eq!(hash(&next), hash(&Self::default()), "an empty group has no state");
        }
        next
    }

    /// Checks that a connect has exactly one answer, which is true of the peer; that other events have none; and that
    /// the outcome describes the actions.
    fn assert_answered(&self, event: &Event, next: &Self, actions: &[Action], outcome: Outcome) {
        let sent = actions.iter().filter_map(|action| match action {
            Action::Send { to, message } => Some((*to, message)),
            _ => None,
        });
        let answers: Vec<_> = sent
            .clone()
            .filter_map(|(to, message)| match *message {
                Message::Connected(member) => Some((to, member)),
                _ => None,
            })
            .collect();
        match *event {
            Event::Connect { peer, .. } if !self.evicted.contains(&peer) => {
                let member = next.group.order().contains(&peer);
                assert_eq!(answers, [(peer, member)], "a connect has one answer, and it is true");
                assert_eq!(outcome, Outcome::Answered { member });
                let bound_to = next.group.bound_to(peer);
                assert!(
                    member || bound_to.is_some_and(|bound_to| next.group.order().contains(&bound_to)),
                    "a peer that is not a member is bound to a member"
                );
            }
            Event::Content { .. } => {
                assert_eq!(answers, [], "only a connect is answered");
                let relayed =
                    if sent.count() > 0 { Outcome::Relayed { bytes: "data".len() } } else { Outcome::Nothing };
                assert_eq!(outcome, relayed);
            }
            _ => {
                assert_eq!(answers, [], "only a connect is answered");
                assert_eq!(outcome, Outcome::Nothing);
            }
        }
    }

    /// Checks that members keep their order, and that only a connect adds a member: the peer that connects.
    fn assert_order_kept(&self, event: &Event, next: &Self) {
        let (before, after) = (self.group.order(), next.group.order());
        let stayed: Vec<_> = after.iter().filter(|peer| before.contains(peer)).collect();
        let kept: Vec<_> = before.iter().filter(|peer| after.contains(peer)).collect();
        assert_eq!(stayed, kept, "members keep their order");
        let new: Vec<_> = after.iter().filter(|peer| !before.contains(peer)).collect();
        match *event {
            Event::Connect { peer, .. } => {
                assert!(new.is_empty() || new == [&peer], "only the peer that connects is added")
            }
            _ => assert!(new.is_empty(), "only a connect adds a member"),
        }
    }

    /// Checks that each link id that was in use, and the new one, is either in use or released afterwards.
    fn assert_link_ids_kept(&self, event: &Event, next: &Self, actions: &[Action]) {
        let released = actions.iter().filter(|action| matches!(action, Action::ReleaseLink(_))).count();
        let new = usize::from(matches!(event, Event::Connect { .. }));
        let (before, after) = (self.group.link_count(), next.group.link_count());
        assert_eq!(before + new, after + released, "each link id is either in use or released");
    }
}

/// The bounds of an exploration.
#[derive(Clone, Copy)]
struct Model {
    peers: u64,
    /// Peers also use each other's ids.
    borrowed_ids: bool,
    /// The number of peers that can be favored.
    favored: u64,
}

impl Model {
    /// Visits all states, and returns their number.
    fn explore(self) -> usize {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let seen = Mutex::new(HashSet::from([hash(&State::default())]));
        let is_new = |state: &State| {
            let hash = hash(state);
            seen.lock().expect("nothing panics under this lock").insert(hash)
        };
        let follow = |state: &State| -> Vec<State> {
            let events = state.events(self).into_iter();
            events.map(|event| state.after(&event)).filter(is_new).collect()
        };
        let mut states = vec![State::default()];
        while !states.is_empty() {
            states = thread::scope(|scope| {
                let parts = states.chunks(states.len().div_ceil(threads));
                let found: Vec<_> =
                    parts.map(|part| scope.spawn(move || part.iter().flat_map(follow).collect::<Vec<_>>())).collect();
                found.into_iter().flat_map(|part| part.join().expect("every state keeps the invariants")).collect()
            });
        }
        seen.into_inner().expect("nothing panics under this lock").len()
    }
}

/// Identifies a state. 64 bits make a collision among millions of states negligible.
fn hash(state: &State) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(state.group.fingerprint())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// More peers than can be explored. `tests/properties.rs` checks the same through the public API.
    #[test]
    fn random_history_of_six_peers_keeps_the_invariants(
        choices in prop::collection::vec(any::<prop::sample::Index>(), 0..100),
    ) {
        let model = Model { peers: 6, borrowed_ids: true, favored: 3 };
        choices.iter().fold(State::default(), |state, choice| {
            let events = state.events(model);
            state.after(choice.get(&events))
        });
    }
}

#[test]
fn every_history_of_two_peers_keeps_the_invariants() {
    let states = Model { peers: 2, borrowed_ids: true, favored: 2 }.explore();
    assert!(states > 10_000, "{states}: the model has lost some of its states");
}

#[test]
#[ignore = "explores millions of transitions: run it in release mode"]
fn every_history_of_three_peers_keeps_the_invariants() {
    let states = Model { peers: 3, borrowed_ids: false, favored: 1 }.explore();
    assert!(states > 100_000, "{states}: the model has lost some of its states");
}
