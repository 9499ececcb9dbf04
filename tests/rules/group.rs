//! A group does what the protocol's words say, and keeps what has to hold even if the words were read wrong.

use std::collections::BTreeSet;

use bytes::Bytes;
use sigver::protocol::{Action, Event, Group, LinkId, MemberId, Message, PeerId};

use super::model::Model;

/// One thing that happens. Who is not there does nothing but join, and who is there does not.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Join { peer: u8, favored: bool },
    Connect { peer: u8, id: u8, members: Vec<u8> },
    Content { peer: u8, recipient: u8, last: bool },
    Leave { peer: u8 },
}

/// How many ids peers call themselves by. A group may forget an id that a joiner tried when it has tried more than 64
/// others that are no member's any more, which the model does not.
const IDS: u8 = 32;

impl Step {
    /// Reads a step. The first byte says who does what: `PPPPF.KK`, the peer, a flag and the kind.
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

/// Reads steps until there are none, and then everybody leaves.
pub(crate) fn check(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut history = History::default();
    while let Some(step) = Step::read(&mut bytes) {
        history.step(step);
    }
    history.end();
}

/// What has happened to a group.
#[derive(Default)]
pub(crate) struct History {
    group: Group,
    model: Model,
    joined: BTreeSet<PeerId>,
    closed: BTreeSet<PeerId>,
    /// Given to the group, and not released.
    given: BTreeSet<LinkId>,
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
                // The ids of links are given out again as soon as they may be, and are those of members too.
                fresh: (1..).filter_map(LinkId::new).find(|id| !self.given.contains(id)).expect("few links"),
                now: std::time::Duration::ZERO,
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

    /// Everybody leaves, and nothing stays behind.
    pub(crate) fn end(mut self) {
        for peer in self.joined.clone() {
            self.handle(Event::Leave { peer });
        }
        assert_eq!((self.group.peers(), self.group.links(), self.given), (0, 0, BTreeSet::new()));
    }

    fn handle(&mut self, event: Event) {
        let peer = who(&event);
        if self.joined.contains(&peer) == matches!(event, Event::Join { .. }) {
            return;
        }
        let mut out = Vec::new();
        self.group.handle(event.clone(), &mut out);

        let mut answers = Vec::new();
        match event {
            Event::Join { peer, .. } => assert!(self.joined.insert(peer), "who is not there joins"),
            Event::Connect { fresh, .. } => assert!(self.given.insert(fresh), "a fresh id is no link's"),
            Event::Leave { peer } => {
                self.joined.remove(&peer);
                self.closed.remove(&peer);
            }
            _ => {}
        }
        for action in &out {
            match action {
                Action::Send { to, message } => {
                    assert!(self.joined.contains(to), "{to:?} is sent {message:?}, and is not there");
                    match message {
                        Message::Connected(_) => answers.push(*to),
                        Message::Content { last: false, data, .. } => assert_eq!(*data, said(&event)),
                        other => panic!("{other:?} is nothing that a peer may see"),
                    }
                }
                Action::Close { peer, .. } => assert!(self.closed.insert(*peer), "{peer:?} is closed twice"),
                Action::Release(id) => assert!(self.given.remove(id), "{id:?} is released twice"),
                other => panic!("{other:?} is nothing that the protocol knows"),
            }
        }
        let asks = matches!(event, Event::Connect { .. }) && !self.closed.contains(&peer);
        assert_eq!(answers, Vec::from_iter(asks.then_some(peer)), "one answer for each connect");
        assert_eq!(self.given, self.group.link_ids().collect(), "an id is a link's until it is released");
        assert_eq!((self.group.peers(), self.group.links()), (self.joined.len(), self.given.len()));

        assert_eq!(sorted(out), sorted(self.model.handle(event.clone())), "{event:?}");
        assert_eq!(Vec::from_iter(self.given.iter().copied()), self.model.link_ids());
        assert_eq!(self.group.peers(), self.model.peers());
    }
}

/// A number of a step as a member's id.
fn member(id: u8) -> MemberId {
    MemberId((id % IDS).into())
}

fn who(event: &Event) -> PeerId {
    match *event {
        Event::Join { peer, .. }
        | Event::Connect { peer, .. }
        | Event::Content { peer, .. }
        | Event::Leave { peer } => peer,
        ref other => panic!("{other:?} is nothing that the protocol knows"),
    }
}

/// The only data that an event may bring to a peer: nothing old, and nothing of anybody else's.
fn said(event: &Event) -> Bytes {
    match event {
        Event::Content { data, .. } => data.clone(),
        _ => Bytes::new(),
    }
}

/// What is sent and closed, in its order, and then what is released, in any.
fn sorted(mut actions: Vec<Action>) -> Vec<Action> {
    actions.sort_by_key(|action| match action {
        Action::Release(id) => Some(*id),
        _ => None,
    });
    actions
}
