//! A naive model of a group: the words of the protocol as lists that are searched from the front.

use bytes::Bytes;
use sigver::protocol::{Action, CloseCode, Event, LinkId, MemberId, Message, PeerId};

#[derive(Default)]
pub(super) struct Model {
    peers: Vec<Peer>,
    /// In the order in which they became members.
    members: Vec<PeerId>,
    /// In the order in which they were created.
    links: Vec<Link>,
}

struct Peer {
    peer: PeerId,
    favored: bool,
    /// The id under which it last became a member.
    id: MemberId,
    /// Evicted, and told to close.
    evicted: bool,
    /// The member ids that it was bound to since it last became a member.
    tried: Vec<MemberId>,
}

struct Link {
    id: LinkId,
    joiner: PeerId,
    member: PeerId,
    /// The direction from the joiner to the member has ended.
    joiner_ended: bool,
    /// The direction from the member to the joiner has ended.
    member_ended: bool,
}

impl Model {
    pub(super) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Returns the ids of all links, sorted.
    pub(super) fn link_ids(&self) -> Vec<LinkId> {
        let mut ids: Vec<_> = self.links.iter().map(|link| link.id).collect();
        ids.sort();
        ids
    }

    /// Applies an event, and returns the actions that a group must return.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Join { peer, favored } => {
                self.peers.push(Peer { peer, favored, id: MemberId(0), evicted: false, tried: Vec::new() });
                Vec::new()
            }
            Event::Connect { peer, id, members, new_link, .. } => self.connect(peer, id, &members, new_link),
            Event::Content { peer, recipient, last, data } => self.content(peer, recipient, last, data),
            Event::Leave { peer } => self.leave(peer),
            other => panic!("{other:?} is not an event of the protocol"),
        }
    }

    fn connect(&mut self, peer: PeerId, id: MemberId, named: &[MemberId], new_link: LinkId) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.peer(peer).evicted {
            return vec![Action::ReleaseLink(new_link)];
        }
        let names_a_member = self.members.iter().any(|&member| named.contains(&self.peer(member).id));
        let member = match self.members[..] {
            // Rule 1.
            [] => self.make_member(peer, id),
            // Rule 2.
            [only] if only == peer => true,
            // Rule 3.
            _ if names_a_member => self.make_member(peer, id),
            // Rule 4.
            [only] if self.peer(peer).tried.contains(&self.peer(only).id) => {
                self.members.clear();
                self.peer_mut(only).evicted = true;
                actions.push(Action::Close { peer: only, code: CloseCode::BlockingMember });
                self.make_member(peer, id)
            }
            // Rule 5.
            _ => {
                self.members.retain(|&member| member != peer);
                let member = self.select(peer);
                let tried = self.peer(member).id;
                self.peer_mut(peer).tried.push(tried);
                actions.extend(self.unbind(peer));
                let (joiner_ended, member_ended) = (false, false);
                self.links.push(Link { id: new_link, joiner: peer, member, joiner_ended, member_ended });
                false
            }
        };
        if member {
            actions.push(Action::ReleaseLink(new_link));
        }
        actions.push(Action::Send { to: peer, message: Message::Connected(member) });
        actions
    }

    fn make_member(&mut self, peer: PeerId, id: MemberId) -> bool {
        if !self.members.contains(&peer) {
            self.members.push(peer);
        }
        let entry = self.peer_mut(peer);
        entry.id = id;
        entry.tried.clear();
        true
    }

    /// Returns the first member that a joiner has not tried, favored members first. If it has tried all, the search
    /// starts over.
    fn select(&mut self, joiner: PeerId) -> PeerId {
        let (favored, regular): (Vec<_>, Vec<_>) = self.members.iter().partition(|&&member| self.peer(member).favored);
        let order = [favored, regular].concat();
        let tried = |member| self.peer(joiner).tried.contains(&self.peer(member).id);
        order.iter().copied().find(|&member| !tried(member)).unwrap_or_else(|| {
            self.peer_mut(joiner).tried.clear();
            order[0]
        })
    }

    fn unbind(&mut self, joiner: PeerId) -> Option<Action> {
        let at = self.links.iter().position(|link| link.joiner == joiner)?;
        Some(Action::ReleaseLink(self.links.remove(at).id))
    }

    fn content(&mut self, peer: PeerId, recipient: u32, last: bool, data: Bytes) -> Vec<Action> {
        let to_joiner = |link: &Link| link.member == peer && link.id.value() == recipient;
        let to_member =
            |link: &Link| link.joiner == peer && (recipient == 0 || self.peer(link.member).id.0 == recipient);
        let found = self.links.iter().position(to_joiner).or_else(|| self.links.iter().position(to_member));
        let Some(at) = found else { return Vec::new() };
        let link = &mut self.links[at];
        let (ended, to, message) = if link.member == peer {
            (&mut link.member_ended, link.joiner, Message::from_member(link.id, data))
        } else {
            (&mut link.joiner_ended, link.member, Message::from_joiner(link.id, data))
        };
        if *ended {
            return Vec::new();
        }
        *ended = last;
        let mut actions = vec![Action::Send { to, message }];
        if link.joiner_ended && link.member_ended {
            actions.push(Action::ReleaseLink(self.links.remove(at).id));
        }
        actions
    }

    fn leave(&mut self, peer: PeerId) -> Vec<Action> {
        self.peers.retain(|entry| entry.peer != peer);
        self.members.retain(|&member| member != peer);
        let mut actions = Vec::new();
        for Link { id, joiner, member, joiner_ended, member_ended } in
            self.links.extract_if(.., |link| link.joiner == peer || link.member == peer)
        {
            if joiner == peer && !joiner_ended {
                actions.push(Action::Send { to: member, message: Message::from_joiner(id, Bytes::new()) });
            }
            if member == peer && !member_ended {
                actions.push(Action::Send { to: joiner, message: Message::from_member(id, Bytes::new()) });
            }
            actions.push(Action::ReleaseLink(id));
        }
        actions
    }

    fn peer(&self, peer: PeerId) -> &Peer {
        self.peers.iter().find(|entry| entry.peer == peer).expect("the peer has joined")
    }

    fn peer_mut(&mut self, peer: PeerId) -> &mut Peer {
        self.peers.iter_mut().find(|entry| entry.peer == peer).expect("the peer has joined")
    }
}
