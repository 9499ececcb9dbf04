//! The reducer of one group: applies events and returns actions.

use std::time::Duration;

use super::decide::{ConnectRequest, Decision, decide};
use super::links::{Links, Peer};
use super::members::{Member, Members, Position};
use super::search::{Search, Selection};
use super::{Action, CloseCode, Event, LinkId, MemberId, Message, Outcome, PeerId};

/// The peers that joined with one key.
///
/// [`Group::handle`] is the whole protocol of one group. It returns no error and never waits. In a group of n peers, a
/// `connect` costs O(log n + number of named ids). A `content`, the message that carries a signal along a link, costs
/// O(log n). A leave costs O(log n), and again O(log n) for each link of the peer. No peer can cause higher costs by
/// its choice of ids or messages. A lookup in a hash table counts as O(1), and the growth and the clean-up of the tables
/// are amortized.
#[derive(Clone, Debug, Default)]
pub struct Group {
    links: Links<Membership>,
    members: Members,
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
    /// The number of links on which it is the member, one for each peer bound to it. A link stays when its joiner becomes
    /// a member.
    pub joiners: usize,
}

/// What the group stores about a peer in addition to its links.
#[derive(Clone, Debug)]
struct Membership {
    /// Once this peer is a member, the search of a joiner selects it before any member that is not favored (rule 5 of
    /// [`super`]).
    favored: bool,
    /// Its position among the members, if it is a member.
    position: Option<Position>,
    /// It was evicted and is being closed, so its connects are ignored.
    evicted: bool,
    search: Search,
}

impl Group {
    /// Creates a group without peers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a group without peers that protects new members from eviction (rule 4 of
    /// [`connect`](super#the-rules-of-connect)). It does not evict a member that has been a member for less than
    /// `eviction_min_age`.
    ///
    /// A joiner that would evict such a member is bound to it again. The minimum age prevents a peer from taking over a
    /// new group by sending `connect` twice before its first member has had time to answer. A member that is older can
    /// still be evicted in this way. npm's `sigver` has no minimum age.
    pub fn with_eviction_min_age(eviction_min_age: Duration) -> Self {
        Self { eviction_min_age, ..Self::default() }
    }

    /// Returns the time that was passed to [`Group::with_eviction_min_age`], or zero.
    pub fn eviction_min_age(&self) -> Duration {
        self.eviction_min_age
    }

    /// Returns the number of peers that have joined and not left, members included.
    pub fn peer_count(&self) -> usize {
        self.links.peer_count()
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
        let Peer { id, link, joiners, role } = self.links.get(peer)?;
        Some(PeerRoles { member_id: role.position.map(|_| *id), link: *link, joiners: joiners.len() })
    }

    /// Iterates over the ids of all links, so that a caller that discards the group can release them.
    pub fn link_ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.ids()
    }

    /// Applies an event, appends the resulting actions to `actions`, and returns the outcome for the event's peer.
    ///
    /// # Panics
    /// If a peer that has joined and not left joins again, if a peer that has not joined or has left does anything else,
    /// or if a peer is bound over a `new_link` that is in use. Each is a bug in the caller.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) -> Outcome {
        match event {
            Event::Join { peer, favored } => self.join(peer, favored),
            Event::Connect { peer, id, members, new_link, now } => {
                self.connect(peer, id, &members, new_link, now, actions)
            }
            Event::Content { peer, recipient, last, data } => self.links.content(peer, recipient, last, data, actions),
            Event::Leave { peer } => self.leave(peer, actions),
        }
    }

    fn join(&mut self, peer: PeerId, favored: bool) -> Outcome {
        self.links.join(peer, Membership { favored, position: None, evicted: false, search: Search::default() });
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
        let Membership { evicted, ref search, .. } = self.links.joined(peer).role;
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
        let entry = self.links.joined_mut(peer);
        entry.role.search.clear();
        let old = std::mem::replace(&mut entry.id, id);
        match entry.role.position {
            Some(position) => self.members.rename(position, old, id),
            None => entry.role.position = Some(self.members.insert(Member::new(peer, id, now), entry.role.favored)),
        }
    }

    /// Evicts the blocking member (rule 4 of [`super`]).
    fn evict(&mut self, peer: PeerId, actions: &mut Vec<Action>) {
        let entry = self.links.joined_mut(peer);
        let position = entry.role.position.take().expect("a member has a position");
        entry.role.evicted = true;
        self.members.remove(position, entry.id);
        actions.push(Action::Close { peer, code: CloseCode::BlockingMember });
    }

    /// Binds a joiner to the selected member. Ends the joiner's own membership, and its earlier link.
    fn bind(&mut self, joiner: PeerId, selection: &Selection, id: LinkId, actions: &mut Vec<Action>) {
        let entry = self.links.joined_mut(joiner);
        if let Some(position) = entry.role.position.take() {
            self.members.remove(position, entry.id);
        }
        entry.role.search.record(selection, &self.members);
        self.links.bind(joiner, selection.member.peer, id, actions);
    }

    fn leave(&mut self, peer: PeerId, actions: &mut Vec<Action>) -> Outcome {
        let left = self.links.leave(peer, actions);
        if let Some(position) = left.role.position {
            self.members.remove(position, left.id);
        }
        Outcome::Nothing
    }
}

#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;
