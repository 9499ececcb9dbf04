//! A group as the protocol words it: lists that are walked from the front, and nothing clever.

use bytes::Bytes;
use sigver::protocol::{Action, CloseCode, Event, LinkId, MemberId, Message, PeerId};

#[derive(Default)]
pub(super) struct Model {
    peers: Vec<Peer>,
    /// In order of admission.
    members: Vec<PeerId>,
    /// In the order in which they were made.
    links: Vec<Link>,
}

struct Peer {
    peer: PeerId,
    favored: bool,
    /// What it called itself when it was last admitted.
    id: MemberId,
    /// Put out of the group, and told to close.
    closed: bool,
    /// The ids that it was bound to since it was last admitted.
    tried: Vec<MemberId>,
}

struct Link {
    id: LinkId,
    joiner: PeerId,
    member: PeerId,
    /// Nothing more goes from the joiner to the member.
    joiner_done: bool,
    /// Nothing more goes from the member to the joiner.
    member_done: bool,
}

impl Model {
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// The ids of all links, sorted.
    pub(super) fn link_ids(&self) -> Vec<LinkId> {
        let mut ids: Vec<_> = self.links.iter().map(|link| link.id).collect();
        ids.sort();
        ids
    }

    /// What a group has to do.
    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Join { peer, favored } => {
                self.peers.push(Peer { peer, favored, id: MemberId(0), closed: false, tried: Vec::new() });
                Vec::new()
            }
            Event::Connect { peer, id, members, fresh, .. } => self.connect(peer, id, &members, fresh),
            Event::Content { peer, recipient, last, data } => self.content(peer, recipient, last, data),
            Event::Leave { peer } => self.leave(peer),
            other => panic!("{other:?} is nothing that the protocol knows"),
        }
    }

    fn connect(&mut self, peer: PeerId, id: MemberId, named: &[MemberId], fresh: LinkId) -> Vec<Action> {
        let mut out = Vec::new();
        if self.peer(peer).closed {
            return vec![Action::Release(fresh)];
        }
        let named = self.members.iter().any(|&member| named.contains(&self.peer(member).id));
        let admitted = match self.members[..] {
            // Rule 1.
            [] => self.admit(peer, id),
            // Rule 2.
            [sole] if sole == peer => true,
            // Rule 3.
            _ if named => self.admit(peer, id),
            // Rule 4.
            [sole] if self.peer(peer).tried.contains(&self.peer(sole).id) => {
                self.members.clear();
                self.peer_mut(sole).closed = true;
                out.push(Action::Close { peer: sole, code: CloseCode::BlockingMember });
                self.admit(peer, id)
            }
            // Rule 5.
            _ => {
                self.members.retain(|&member| member != peer);
                let member = self.offered(peer);
                let tried = self.peer(member).id;
                self.peer_mut(peer).tried.push(tried);
                out.extend(self.unbind(peer));
                self.links.push(Link { id: fresh, joiner: peer, member, joiner_done: false, member_done: false });
                false
            }
        };
        if admitted {
            out.push(Action::Release(fresh));
        }
        out.push(Action::Send { to: peer, message: Message::Connected(admitted) });
        out
    }

    fn admit(&mut self, peer: PeerId, id: MemberId) -> bool {
        if !self.members.contains(&peer) {
            self.members.push(peer);
        }
        let entry = self.peer_mut(peer);
        entry.id = id;
        entry.tried.clear();
        true
    }

    /// The first member that a joiner has not tried, favored ones before the rest. When all have been tried, the
    /// joiner forgets that.
    fn offered(&mut self, joiner: PeerId) -> PeerId {
        let (favored, rest): (Vec<_>, Vec<_>) = self.members.iter().partition(|&&member| self.peer(member).favored);
        let order = [favored, rest].concat();
        let tried = |member| self.peer(joiner).tried.contains(&self.peer(member).id);
        order.iter().copied().find(|&member| !tried(member)).unwrap_or_else(|| {
            self.peer_mut(joiner).tried.clear();
            order[0]
        })
    }

    fn unbind(&mut self, joiner: PeerId) -> Option<Action> {
        let at = self.links.iter().position(|link| link.joiner == joiner)?;
        Some(Action::Release(self.links.remove(at).id))
    }

    fn content(&mut self, peer: PeerId, recipient: u32, last: bool, data: Bytes) -> Vec<Action> {
        let to_joiner = |link: &Link| link.member == peer && link.id.value() == recipient;
        let to_member =
            |link: &Link| link.joiner == peer && (recipient == 0 || self.peer(link.member).id.0 == recipient);
        let found = self.links.iter().position(to_joiner).or_else(|| self.links.iter().position(to_member));
        let Some(at) = found else { return Vec::new() };
        let link = &mut self.links[at];
        let (done, to, message) = if link.member == peer {
            (&mut link.member_done, link.joiner, Message::from_member(link.id, data))
        } else {
            (&mut link.joiner_done, link.member, Message::from_joiner(link.id, data))
        };
        if *done {
            return Vec::new();
        }
        *done = last;
        let mut out = vec![Action::Send { to, message }];
        if link.joiner_done && link.member_done {
            out.push(Action::Release(self.links.remove(at).id));
        }
        out
    }

    fn leave(&mut self, peer: PeerId) -> Vec<Action> {
        self.peers.retain(|entry| entry.peer != peer);
        self.members.retain(|&member| member != peer);
        let mut out = Vec::new();
        for Link { id, joiner, member, joiner_done, member_done } in
            self.links.extract_if(.., |link| link.joiner == peer || link.member == peer)
        {
            if joiner == peer && !joiner_done {
                out.push(Action::Send { to: member, message: Message::from_joiner(id, Bytes::new()) });
            }
            if member == peer && !member_done {
                out.push(Action::Send { to: joiner, message: Message::from_member(id, Bytes::new()) });
            }
            out.push(Action::Release(id));
        }
        out
    }

    fn peer(&self, peer: PeerId) -> &Peer {
        self.peers.iter().find(|entry| entry.peer == peer).expect("it has joined")
    }

    fn peer_mut(&mut self, peer: PeerId) -> &mut Peer {
        self.peers.iter_mut().find(|entry| entry.peer == peer).expect("it has joined")
    }
}
