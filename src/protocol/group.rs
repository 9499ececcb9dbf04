//! The reducer of one group: applies events and returns actions.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxBuildHasher;

use super::decide::{ConnectRequest, Decision, decide};
use super::members::{Member, Members, Position};
use super::search::{Search, Selection};
use super::{Action, CloseCode, Event, LinkId, MemberId, Message, Outcome, PeerId};

/// The peers that joined with one key.
///
/// [`Group::handle`] is the whole protocol of one group. It returns no error and never waits. In a group of n peers, a
/// `connect` costs O(log n + number of named ids), a `content` O(log n), and a leave O(log n) plus O(log n) for each link
/// of the peer. No peer can cause higher costs by its choice of ids or messages. A lookup in
/// a hash table counts as O(1), and the growth of the tables is amortized.
#[derive(Clone, Debug, Default)]
pub struct Group {
    peers: HashMap<PeerId, Peer, FxBuildHasher>,
    members: Members,
    links: HashMap<LinkId, Link, FxBuildHasher>,
    /// The number of links that were ever created.
    links_created: u64,
    eviction_min_age: Duration,
}

/// The membership and the links of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerRoles {
    /// Its id, if it is a member.
    pub member_id: Option<MemberId>,
    /// Its link to the member that it is bound to.
    pub link: Option<LinkId>,
    /// The number of joiners that are bound to it.
    pub joiners: usize,
}

#[derive(Clone, Debug)]
struct Peer {
    favored: bool,
    /// Its id as a member, kept when it loses its membership: its joiners can still address it by this id.
    id: MemberId,
    /// Its position among the members, if it is a member.
    position: Option<Position>,
    /// It was evicted and is being closed, so its connects are ignored.
    evicted: bool,
    /// Its link as a joiner.
    link: Option<LinkId>,
    /// Its links as a member.
    joiners: BTreeSet<LinkId>,
    search: Search,
}

#[derive(Clone, Debug)]
struct Link {
    /// Its number among all links that were ever created.
    nth: u64,
    joiner: End,
    member: End,
}

#[derive(Clone, Debug)]
struct End {
    peer: PeerId,
    /// This end has sent its last data.
    ended: bool,
}

impl Group {
    /// Creates a group without peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a group whose only member cannot be evicted (rule 4 of [`connect`](super#the-rules-of-connect)) before it
    /// has been a member for `eviction_min_age`.
    ///
    /// Until then, a joiner that would evict the member is bound to it again. The minimum age prevents a peer from taking
    /// over a group by sending `connect` twice before the member has had time to answer. npm's `sigver` has none.
    pub fn with_eviction_min_age(eviction_min_age: Duration) -> Self {
        Self { eviction_min_age, ..Self::default() }
    }

    /// Returns the time that was passed to [`Group::with_eviction_min_age`], or zero.
    pub fn eviction_min_age(&self) -> Duration {
        self.eviction_min_age
    }

    /// Returns the number of peers that have joined and not left, members included.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Returns the number of members.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Returns the number of links.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Returns the roles of a peer. `None` if it has not joined or has left.
    pub fn peer(&self, peer: PeerId) -> Option<PeerRoles> {
        let Peer { id, position, link, ref joiners, .. } = *self.peers.get(&peer)?;
        Some(PeerRoles { member_id: position.map(|_| id), link, joiners: joiners.len() })
    }

    /// Iterates over the ids of all links, so that a caller that discards the group can release them.
    pub fn link_ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.keys().copied()
    }

    /// Applies an event, appends the resulting actions to `actions`, and returns the outcome for the event's peer.
    ///
    /// # Panics
    /// If a peer joins twice, or does anything before it joined or after it left, or is bound over a `new_link` that
    /// is in use. Each is a bug in the caller.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) -> Outcome {
        match event {
            Event::Join { peer, favored } => self.join(peer, favored),
            Event::Connect { peer, id, members, new_link, now } => {
                self.connect(peer, id, &members, new_link, now, actions)
            }
            Event::Content { peer, recipient, last, data } => self.content(peer, recipient, last, data, actions),
            Event::Leave { peer } => self.leave(peer, actions),
        }
    }

    fn join(&mut self, peer: PeerId, favored: bool) -> Outcome {
        let new = Peer {
            favored,
            id: MemberId(0),
            position: None,
            evicted: false,
            link: None,
            joiners: BTreeSet::new(),
            search: Search::default(),
        };
        let earlier = self.peers.insert(peer, new);
        assert!(earlier.is_none(), "{peer:?} joined twice");
        Outcome::Nothing
    }

    fn connect(
        &mut self,
        peer: PeerId,
        id: MemberId,
        named: &[MemberId],
        new_link: LinkId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Outcome {
        let Peer { evicted, ref search, .. } = *self.joined(peer);
        if evicted {
            actions.push(Action::ReleaseLink(new_link));
            return Outcome::Nothing;
        }
        let request = ConnectRequest { peer, named, now, eviction_min_age: self.eviction_min_age };
        let decision = decide(&self.members, search, request);
        match decision {
            Decision::Keep => {}
            Decision::MakeMember => self.make_member(peer, id, now),
            Decision::EvictAndMakeMember(blocking) => {
                self.evict(blocking, actions);
                self.make_member(peer, id, now);
            }
            Decision::Bind(selection) => self.bind(peer, &selection, new_link, actions),
        }
        let member = !matches!(decision, Decision::Bind(_));
        if member {
            actions.push(Action::ReleaseLink(new_link));
        }
        actions.push(Action::Send { to: peer, message: Message::Connected(member) });
        Outcome::Answered { member }
    }

    /// Makes a peer a member, or gives a member its new id.
    fn make_member(&mut self, peer: PeerId, id: MemberId, now: Duration) {
        let entry = self.peers.get_mut(&peer).expect("a peer that connects has joined");
        entry.search.clear();
        let old = std::mem::replace(&mut entry.id, id);
        match entry.position {
            Some(position) => self.members.rename(position, old, id),
            None => entry.position = Some(self.members.insert(Member::new(peer, id, now), entry.favored)),
        }
    }

    /// Evicts the blocking member (rule 4 of [`super`]).
    fn evict(&mut self, peer: PeerId, actions: &mut Vec<Action>) {
        let entry = self.peers.get_mut(&peer).expect("a member has joined");
        let position = entry.position.take().expect("a member has a position");
        entry.evicted = true;
        self.members.remove(position, entry.id);
        actions.push(Action::Close { peer, code: CloseCode::BlockingMember });
    }

    /// Binds a joiner to the selected member. Ends the joiner's own membership, and its earlier link.
    fn bind(&mut self, joiner: PeerId, selection: &Selection, id: LinkId, actions: &mut Vec<Action>) {
        let entry = self.peers.get_mut(&joiner).expect("a peer that connects has joined");
        if let Some(position) = entry.position.take() {
            self.members.remove(position, entry.id);
        }
        entry.search.record(selection, &self.members);
        if let Some(replaced) = entry.link.replace(id) {
            self.drop_link(replaced, actions);
        }
        let member = selection.member.peer;
        self.joined_mut(member).joiners.insert(id);
        self.links_created += 1;
        let [joiner, member] = [joiner, member].map(|peer| End { peer, ended: false });
        let earlier = self.links.insert(id, Link { nth: self.links_created, joiner, member });
        assert!(earlier.is_none(), "{id:?} is in use");
    }

    fn content(&mut self, peer: PeerId, recipient: u32, last: bool, data: Bytes, actions: &mut Vec<Action>) -> Outcome {
        let sender = self.joined(peer);
        let to_joiner = LinkId::new(recipient).filter(|link| sender.joiners.contains(link));
        let to_member = || sender.link.filter(|&link| recipient == 0 || recipient == self.member_id(link).0);
        let Some(id) = to_joiner.or_else(to_member) else { return Outcome::Nothing };
        let link = self.links.get_mut(&id).expect("a peer's links exist");
        let bytes = data.len();
        let (from, to, message) = match to_joiner {
            Some(_) => (&mut link.member, &link.joiner, Message::from_member(id, data)),
            None => (&mut link.joiner, &link.member, Message::from_joiner(id, data)),
        };
        if from.ended {
            return Outcome::Nothing;
        }
        actions.push(Action::Send { to: to.peer, message });
        from.ended = last;
        if link.joiner.ended && link.member.ended {
            let joiner = link.joiner.peer;
            self.joined_mut(joiner).link = None;
            self.drop_link(id, actions);
        }
        Outcome::Relayed { bytes }
    }

    fn leave(&mut self, peer: PeerId, actions: &mut Vec<Action>) -> Outcome {
        let left = self.peers.remove(&peer).unwrap_or_else(|| panic!("{peer:?} left without having joined"));
        if let Some(position) = left.position {
            self.members.remove(position, left.id);
        }
        let ids = left.link.into_iter().chain(left.joiners);
        let mut remove = |id| (id, self.links.remove(&id).expect("a peer's links exist"));
        let mut links: Vec<_> = ids.map(&mut remove).collect();
        // Two peers share two links if each is a joiner of the other. The other peer then receives the last message of
        // the older link first, as from npm's `sigver`.
        links.sort_unstable_by_key(|(_, link)| link.nth);
        for (id, Link { joiner, member, .. }) in links {
            let (from, to, end) = if joiner.peer == peer {
                self.joined_mut(member.peer).joiners.remove(&id);
                (joiner, member, Message::from_joiner(id, Bytes::new()))
            } else {
                self.joined_mut(joiner.peer).link = None;
                (member, joiner, Message::from_member(id, Bytes::new()))
            };
            if !from.ended {
                actions.push(Action::Send { to: to.peer, message: end });
            }
            actions.push(Action::ReleaseLink(id));
        }
        Outcome::Nothing
    }

    /// Removes a link that its joiner no longer refers to, without notifying either end.
    fn drop_link(&mut self, id: LinkId, actions: &mut Vec<Action>) {
        let link = self.links.remove(&id).expect("a peer's links exist");
        self.joined_mut(link.member.peer).joiners.remove(&id);
        actions.push(Action::ReleaseLink(id));
    }

    /// Returns the id of the member at the end of a link.
    fn member_id(&self, link: LinkId) -> MemberId {
        self.joined(self.links[&link].member.peer).id
    }

    fn joined(&self, peer: PeerId) -> &Peer {
        self.peers.get(&peer).unwrap_or_else(|| panic!("{peer:?} has not joined"))
    }

    fn joined_mut(&mut self, peer: PeerId) -> &mut Peer {
        self.peers.get_mut(&peer).unwrap_or_else(|| panic!("{peer:?} has not joined"))
    }
}

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;
