//! A group behaves like the naive model, and keeps invariants that do not depend on the model.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use sigver::protocol::{Action, Event, Group, LinkId, MemberId, Message, Outcome, PeerId};

use super::naive_model::Model;

/// One event of a history. A peer that has not joined can only join. A peer that has joined cannot join again.
///
/// At most 16 peers take part. A search therefore never exceeds its bounds on the members that it visits, which the
/// model does not have.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Join { peer: u8, favored: bool },
    Connect { peer: u8, id: u8, members: Vec<u8> },
    Content { peer: u8, recipient: u8, last: bool },
    Leave { peer: u8 },
}

/// The number of different member ids. A group forgets some of the ids that a joiner tried when more than 64 of them
/// have no member. The model does not, so there are fewer.
const IDS: u8 = 32;

impl Step {
    /// Reads a step. The bits of the first byte are `PPPPF.KK`: the peer, a flag, and the kind of the step.
    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let first = bytes.next()?;
        let (peer, flag) = (first >> 4, first & 8 != 0);
        Some(match first & 3 {
            0 => Self::Join { peer, favored: flag },
            1 => {
                let second = bytes.next()?;
                let members = bytes.by_ref().take((second >> 6).into()).collect();
                Self::Connect { peer, id: second & 63, members }
            }
            2 => Self::Content { peer, recipient: bytes.next()?, last: flag },
            _ => Self::Leave { peer },
        })
    }
}

/// Reads and applies all steps. Then all peers leave.
pub(crate) fn check(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut history = History::default();
    while let Some(step) = Step::read(&mut bytes) {
        history.step(step);
    }
    history.end();
}

/// A group and its model after a number of steps.
#[derive(Default)]
pub(crate) struct History {
    group: Group,
    model: Model,
    joined: BTreeSet<PeerId>,
    evicted: BTreeSet<PeerId>,
    /// The link ids that the group has received and not released.
    link_ids: BTreeSet<LinkId>,
    contents: u32,
}

impl History {
    pub(crate) fn step(&mut self, step: Step) {
        let event = match step {
            Step::Join { peer, favored } => Event::Join { peer: PeerId(peer.into()), favored },
            Step::Connect { peer, id, members } => Event::Connect {
                peer: PeerId(peer.into()),
                id: member(id),
                members: members.into_iter().map(member).collect(),
                // The lowest free id: ids are reused as soon as possible, and are equal to member ids.
                new_link: (1..).filter_map(LinkId::new).find(|id| !self.link_ids.contains(id)).expect("few links"),
                now: Duration::ZERO,
            },
            Step::Content { peer, recipient, last } => {
                self.contents += 1;
                let data = Bytes::copy_from_slice(&self.contents.to_be_bytes());
                Event::Content { peer: PeerId(peer.into()), recipient: recipient.into(), last, data }
            }
            Step::Leave { peer } => Event::Leave { peer: PeerId(peer.into()) },
        };
        self.handle(event);
    }

    /// Makes all peers leave, and checks that the group is empty.
    pub(crate) fn end(mut self) {
        for peer in self.joined.clone() {
            self.handle(Event::Leave { peer });
        }
        assert_eq!((self.group.peer_count(), self.group.link_count(), self.link_ids), (0, 0, BTreeSet::new()));
    }

    fn handle(&mut self, event: Event) {
        let peer = peer(&event);
        if self.joined.contains(&peer) == matches!(event, Event::Join { .. }) {
            return;
        }
        let mut actions = Vec::new();
        let outcome = self.group.handle(event.clone(), &mut actions);

        let mut answers = Vec::new();
        match event {
            Event::Join { peer, .. } => assert!(self.joined.insert(peer), "a peer joins once"),
            Event::Connect { new_link, .. } => assert!(self.link_ids.insert(new_link), "a new link id is not in use"),
            Event::Leave { peer } => {
                self.joined.remove(&peer);
                self.evicted.remove(&peer);
            }
            _ => {}
        }
        for action in &actions {
            match action {
                Action::Send { to, message } => {
                    assert!(self.joined.contains(to), "{message:?} is sent to {to:?}, which has not joined");
                    match message {
                        Message::Connected(member) => answers.push((*to, *member)),
                        Message::Content { last: false, data, .. } => assert_eq!(*data, payload(&event)),
                        other => panic!("{other:?} must not be sent to a peer"),
                    }
                }
                Action::Close { peer, .. } => assert!(self.evicted.insert(*peer), "{peer:?} is closed twice"),
                Action::ReleaseLink(id) => assert!(self.link_ids.remove(id), "{id:?} is released twice"),
                other => panic!("{other:?} is not an action of the protocol"),
            }
        }
        match outcome {
            Outcome::Answered { member } => assert_eq!(answers, [(peer, member)], "a connect has one answer"),
            _ => assert_eq!(answers, [], "only a connect is answered"),
        }
        let answered = matches!(event, Event::Connect { .. }) && !self.evicted.contains(&peer);
        assert_eq!(answered, matches!(outcome, Outcome::Answered { .. }), "every connect is answered");
        assert_eq!(self.link_ids, self.group.link_ids().collect(), "a link id is in use until it is released");
        let counts = (self.group.peer_count(), self.group.link_count());
        assert_eq!(counts, (self.joined.len(), self.link_ids.len()));

        assert_eq!(sorted(actions), sorted(self.model.handle(event.clone())), "{event:?}");
        assert_eq!(Vec::from_iter(self.link_ids.iter().copied()), self.model.link_ids());
        assert_eq!(self.group.peer_count(), self.model.peer_count());
    }
}

/// Maps a number in a step to a member id.
fn member(id: u8) -> MemberId {
    MemberId((id % IDS).into())
}

fn peer(event: &Event) -> PeerId {
    match *event {
        Event::Join { peer, .. }
        | Event::Connect { peer, .. }
        | Event::Content { peer, .. }
        | Event::Leave { peer } => peer,
        ref other => panic!("{other:?} is not an event of the protocol"),
    }
}

/// The only data that a peer may receive because of an event: its own payload, or none.
fn payload(event: &Event) -> Bytes {
    match event {
        Event::Content { data, .. } => data.clone(),
        _ => Bytes::new(),
    }
}

/// Sorts released link ids to the end. All other actions keep their order.
fn sorted(mut actions: Vec<Action>) -> Vec<Action> {
    actions.sort_by_key(|action| match action {
        Action::ReleaseLink(id) => Some(*id),
        _ => None,
    });
    actions
}
