//! One group: events in, actions out.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxBuildHasher;

use super::members::{Member, Members, Place, Search};
use super::{CloseCode, LinkId, MemberId, Message, PeerId};

/// What happens to a group, each with the peer that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer opened a socket with the group's key. It is no member yet.
    Join {
        /// Not in the group yet.
        peer: PeerId,
        /// As a member it is offered to joiners before those that are not.
        favored: bool,
    },
    /// A peer asks whether it is in. Answered by one [`Message::Connected`].
    Connect {
        /// Who asks.
        peer: PeerId,
        /// What it calls itself from now on.
        id: MemberId,
        /// The members that it sees, at most so many as the caller is willing to look up.
        members: Vec<MemberId>,
        /// The id of the link that this may make: random, and no other link's. One that is not used comes back
        /// by [`Action::Release`] at once.
        fresh: LinkId,
        /// When, on a clock of the caller's that goes forward. Only [`Group::with_min_stay`] looks at it.
        now: Duration,
    },
    /// A peer sends data along a link.
    Content {
        /// Who sends.
        peer: PeerId,
        /// The link of one of its joiners; or 0 or the bound member's id, for the member. Anything else: dropped.
        recipient: u32,
        /// Nothing more comes from this end.
        last: bool,
        /// The payload.
        data: Bytes,
    },
    /// A peer's socket is closed.
    Leave {
        /// Who left. Its id may join again.
        peer: PeerId,
    },
}

/// What the group wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send a message to a peer.
    Send {
        /// A peer that joined and has not left.
        to: PeerId,
        /// [`Message::Connected`] or [`Message::Content`].
        message: Message,
    },
    /// Close a peer's socket. The group goes on without it, and takes nothing but contents from it until it leaves.
    Close {
        /// Whom to close.
        peer: PeerId,
        /// Why.
        code: CloseCode,
    },
    /// No link has this id any more: it may be given out again.
    Release(LinkId),
}

/// The peers that opened a socket with one key.
///
/// Everything that the protocol decides is decided in [`Group::handle`]. It never fails and never waits. In a group of
/// n peers a connect costs O(log n + members named), a content O(1), a leave O(log n + the links of the one that
/// leaves). A joiner that asks on and on pays for those it tried under an id that they took while they were members.
#[derive(Clone, Debug, Default)]
pub struct Group {
    peers: HashMap<PeerId, Peer, FxBuildHasher>,
    members: Members,
    links: HashMap<LinkId, Link, FxBuildHasher>,
    /// How many links were ever made.
    linked: u64,
    /// How long a member has to have been one before it can be put out for blocking.
    min_stay: Duration,
}

#[derive(Clone, Debug)]
struct Peer {
    favored: bool,
    /// What it called itself when it was last admitted.
    id: MemberId,
    /// Its place among the members, while it is one.
    place: Option<Place>,
    /// When it became a member.
    since: Duration,
    /// It was told to close: it asks for nothing any more.
    closed: bool,
    /// Its link as a joiner.
    bound: Option<LinkId>,
    /// Its links as a member.
    joiners: BTreeSet<LinkId>,
    /// Whom it was bound to since it was last admitted. Few peers ever search, so the others do not pay for it.
    search: Option<Box<Search>>,
}

/// How a peer stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// What it calls itself, when it is a member.
    pub member: Option<MemberId>,
    /// Its link to the member that it is bound to.
    pub bound: Option<LinkId>,
    /// How many joiners are bound to it.
    pub joiners: usize,
}

#[derive(Clone, Debug)]
struct Link {
    /// Its place among all links that were ever made.
    nth: u64,
    joiner: End,
    member: End,
}

#[derive(Clone, Debug)]
struct End {
    peer: PeerId,
    /// This end has said that nothing more comes from it.
    done: bool,
}

impl Group {
    /// A group without peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group whose only member is not put out for blocking before it has been a member for so long: who asks before
    /// that is bound to it again. The reference has no such rule; with it nobody can take a group over by asking twice
    /// while its member has had no time to answer.
    pub fn with_min_stay(min_stay: Duration) -> Self {
        Self { min_stay, ..Self::default() }
    }

    /// See [`Group::with_min_stay`].
    pub fn min_stay(&self) -> Duration {
        self.min_stay
    }

    /// How many peers have joined and not left, members or not.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// How many of them are members.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// How a peer stands in the group. `None` when it has not joined or has left.
    pub fn standing(&self, peer: PeerId) -> Option<Standing> {
        let Peer { id, place, bound, ref joiners, .. } = *self.peers.get(&peer)?;
        Some(Standing { member: place.map(|_| id), bound, joiners: joiners.len() })
    }

    /// How many links there are.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// The ids of all links, for a caller that gives the group up.
    pub fn link_ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.keys().copied()
    }

    /// Takes one event and appends what has to be done because of it to `out`.
    ///
    /// # Panics
    /// When a peer joins twice, or does anything else before it joined or after it left, or when a fresh link id is
    /// in use: the caller has lost count.
    pub fn handle(&mut self, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Join { peer, favored } => self.join(peer, favored),
            Event::Connect { peer, id, members, fresh, now } => self.connect(peer, id, &members, fresh, now, out),
            Event::Content { peer, recipient, last, data } => self.content(peer, recipient, last, data, out),
            Event::Leave { peer } => self.leave(peer, out),
        }
    }

    fn join(&mut self, peer: PeerId, favored: bool) {
        let fresh = Peer {
            favored,
            id: MemberId(0),
            place: None,
            since: Duration::ZERO,
            closed: false,
            bound: None,
            joiners: BTreeSet::new(),
            search: None,
        };
        let earlier = self.peers.insert(peer, fresh);
        assert!(earlier.is_none(), "{peer:?} joined twice");
    }

    fn connect(
        &mut self,
        peer: PeerId,
        id: MemberId,
        named: &[MemberId],
        fresh: LinkId,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        let asking = self.peer(peer);
        if asking.closed {
            out.push(Action::Release(fresh));
            return;
        }
        let sole = self.members.sole();
        let offered = if sole.is_some_and(|sole| sole.peer == peer) {
            None
        } else if self.members.is_empty() || self.members.include_any(named) {
            self.admit(peer, id, now);
            None
        } else if let Some(sole) = sole.filter(|sole| asking.tried(sole.id) && self.has_stayed(sole.peer, now)) {
            self.evict(sole.peer, out);
            self.admit(peer, id, now);
            None
        } else {
            Some(self.offer(peer))
        };
        match offered {
            Some(member) => self.bind(peer, member, fresh, out),
            None => out.push(Action::Release(fresh)),
        }
        out.push(Action::Send { to: peer, message: Message::Connected(offered.is_none()) });
    }

    /// Makes a peer a member, or gives a member its new id.
    fn admit(&mut self, peer: PeerId, id: MemberId, now: Duration) {
        let entry = self.peers.get_mut(&peer).expect("who is admitted has joined");
        entry.search = None;
        let old = std::mem::replace(&mut entry.id, id);
        match entry.place {
            Some(place) => self.members.rename(place, old, id),
            None => {
                entry.place = Some(self.members.admit(Member { peer, id }, entry.favored));
                entry.since = now;
            }
        }
    }

    /// Whether a member has been one for long enough to be put out.
    fn has_stayed(&self, peer: PeerId, now: Duration) -> bool {
        now.saturating_sub(self.peer(peer).since) >= self.min_stay
    }

    /// Puts the blocking member out.
    fn evict(&mut self, peer: PeerId, out: &mut Vec<Action>) {
        let entry = self.peers.get_mut(&peer).expect("a member has joined");
        let place = entry.place.take().expect("a member has its place");
        entry.closed = true;
        self.members.remove(place, entry.id);
        out.push(Action::Close { peer, code: CloseCode::BlockingMember });
    }

    /// Whom a peer that is not admitted is to be bound to.
    fn offer(&mut self, peer: PeerId) -> PeerId {
        let entry = self.peers.get_mut(&peer).expect("who asks has joined");
        if let Some(place) = entry.place.take() {
            self.members.remove(place, entry.id);
        }
        let search = entry.search.get_or_insert_default();
        self.members.offer(search).expect("a group without another member admits who asks").peer
    }

    fn bind(&mut self, joiner: PeerId, member: PeerId, id: LinkId, out: &mut Vec<Action>) {
        if let Some(replaced) = self.peer_mut(joiner).bound.replace(id) {
            self.cut(replaced, out);
        }
        self.peer_mut(member).joiners.insert(id);
        self.linked += 1;
        let [joiner, member] = [joiner, member].map(|peer| End { peer, done: false });
        let earlier = self.links.insert(id, Link { nth: self.linked, joiner, member });
        assert!(earlier.is_none(), "{id:?} is not fresh");
    }

    fn content(&mut self, peer: PeerId, recipient: u32, last: bool, data: Bytes, out: &mut Vec<Action>) {
        let sender = self.peer(peer);
        let to_joiner = LinkId::new(recipient).filter(|link| sender.joiners.contains(link));
        let to_member = || sender.bound.filter(|&link| recipient == 0 || recipient == self.bound_member(link).0);
        let Some(id) = to_joiner.or_else(to_member) else { return };
        let link = self.links.get_mut(&id).expect("its ends know no other links");
        let (from, to, message) = match to_joiner {
            Some(_) => (&mut link.member, &link.joiner, Message::from_member(id, data)),
            None => (&mut link.joiner, &link.member, Message::from_joiner(id, data)),
        };
        if from.done {
            return;
        }
        out.push(Action::Send { to: to.peer, message });
        from.done = last;
        if link.joiner.done && link.member.done {
            let joiner = link.joiner.peer;
            self.peer_mut(joiner).bound = None;
            self.cut(id, out);
        }
    }

    fn leave(&mut self, peer: PeerId, out: &mut Vec<Action>) {
        let left = self.peers.remove(&peer).unwrap_or_else(|| panic!("{peer:?} left without having joined"));
        if let Some(place) = left.place {
            self.members.remove(place, left.id);
        }
        let ids = left.bound.into_iter().chain(left.joiners);
        let mut remove = |id| (id, self.links.remove(&id).expect("its ends know no other links"));
        let mut links: Vec<_> = ids.map(&mut remove).collect();
        // A peer at the other end of two of them hears of the older one first, as from the reference.
        links.sort_unstable_by_key(|(_, link)| link.nth);
        for (id, Link { joiner, member, .. }) in links {
            let (from, to, end) = if joiner.peer == peer {
                self.peer_mut(member.peer).joiners.remove(&id);
                (joiner, member, Message::from_joiner(id, Bytes::new()))
            } else {
                self.peer_mut(joiner.peer).bound = None;
                (member, joiner, Message::from_member(id, Bytes::new()))
            };
            if !from.done {
                out.push(Action::Send { to: to.peer, message: end });
            }
            out.push(Action::Release(id));
        }
    }

    /// Ends a link that its joiner knows no more, without telling anyone.
    fn cut(&mut self, id: LinkId, out: &mut Vec<Action>) {
        let link = self.links.remove(&id).expect("its ends know no other links");
        self.peer_mut(link.member.peer).joiners.remove(&id);
        out.push(Action::Release(id));
    }

    fn bound_member(&self, link: LinkId) -> MemberId {
        self.peer(self.links[&link].member.peer).id
    }

    fn peer(&self, peer: PeerId) -> &Peer {
        self.peers.get(&peer).unwrap_or_else(|| panic!("{peer:?} has not joined"))
    }

    fn peer_mut(&mut self, peer: PeerId) -> &mut Peer {
        self.peers.get_mut(&peer).unwrap_or_else(|| panic!("{peer:?} has not joined"))
    }
}

impl Peer {
    fn tried(&self, id: MemberId) -> bool {
        self.search.as_ref().is_some_and(|search| search.tried(id))
    }
}

#[cfg(test)]
mod sound;
#[cfg(test)]
mod tests;
