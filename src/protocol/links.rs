//! The peers of one group and the links between them. Contains no rule about which peers are bound.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use rustc_hash::FxBuildHasher;

use super::{Action, LinkId, MemberId, Message, Outcome, PeerId};

/// Peers and links. `R` is what the owner of the links stores about each peer.
#[derive(Clone, Debug)]
pub(crate) struct Links<R> {
    peers: HashMap<PeerId, Peer<R>, FxBuildHasher>,
    links: HashMap<LinkId, Link, FxBuildHasher>,
    /// The number of links that were ever created.
    created: u64,
}

/// One peer with its links.
#[derive(Clone, Debug)]
pub(crate) struct Peer<R> {
    /// Its id as a member, kept when it loses its membership: its joiners can still address it by this id.
    pub(crate) id: MemberId,
    /// Its link as a joiner.
    pub(crate) link: Option<LinkId>,
    /// Its links as a member.
    pub(crate) joiners: BTreeSet<LinkId>,
    pub(crate) role: R,
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Its number among all links that were ever created.
    pub(crate) nth: u64,
    pub(crate) joiner: End,
    pub(crate) member: End,
}

#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) peer: PeerId,
    /// This end has sent its last data.
    pub(crate) ended: bool,
}

impl<R> Default for Links<R> {
    fn default() -> Self {
        Self { peers: HashMap::default(), links: HashMap::default(), created: 0 }
    }
}

impl<R> Links<R> {
    /// Returns the number of peers.
    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Returns the number of links.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// Iterates over the ids of all links.
    pub(crate) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.keys().copied()
    }

    /// Returns a peer. `None` if it has not joined or has left.
    pub(crate) fn get(&self, peer: PeerId) -> Option<&Peer<R>> {
        self.peers.get(&peer)
    }

    /// Returns a peer. `None` if it has not joined or has left.
    #[cfg(feature = "cluster")]
    pub(crate) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Peer<R>> {
        self.peers.get_mut(&peer)
    }

    /// Returns a peer that has joined and not left.
    pub(crate) fn joined(&self, peer: PeerId) -> &Peer<R> {
        self.peers.get(&peer).unwrap_or_else(|| panic!("{peer:?} has not joined"))
    }

    /// Returns a peer that has joined and not left.
    pub(crate) fn joined_mut(&mut self, peer: PeerId) -> &mut Peer<R> {
        self.peers.get_mut(&peer).unwrap_or_else(|| panic!("{peer:?} has not joined"))
    }

    /// Adds a peer without links.
    pub(crate) fn join(&mut self, peer: PeerId, role: R) {
        let new = Peer { id: MemberId(0), link: None, joiners: BTreeSet::new(), role };
        let earlier = self.peers.insert(peer, new);
        assert!(earlier.is_none(), "{peer:?} joined twice");
    }

    /// Binds a joiner to a member. Ends the joiner's earlier link without notifying either end.
    pub(crate) fn bind(&mut self, joiner: PeerId, member: PeerId, id: LinkId, actions: &mut Vec<Action>) {
        if let Some(replaced) = self.joined_mut(joiner).link.replace(id) {
            assert_ne!(replaced, id, "the new link is in use");
            self.remove(replaced, actions);
        }
        self.joined_mut(member).joiners.insert(id);
        self.created += 1;
        let [joiner, member] = [joiner, member].map(|peer| End { peer, ended: false });
        let earlier = self.links.insert(id, Link { nth: self.created, joiner, member });
        assert!(earlier.is_none(), "{id:?} is in use");
    }

    /// Sends content along a link of a peer.
    pub(crate) fn content(
        &mut self,
        peer: PeerId,
        recipient: u32,
        last: bool,
        data: Bytes,
        actions: &mut Vec<Action>,
    ) -> Outcome {
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
            self.remove(id, actions);
        }
        Outcome::Relayed { bytes }
    }

    /// Removes a peer and its links, and notifies the other ends.
    pub(crate) fn leave(&mut self, peer: PeerId, actions: &mut Vec<Action>) -> Peer<R> {
        let mut left = self.peers.remove(&peer).unwrap_or_else(|| panic!("{peer:?} left without having joined"));
        let ids = left.link.take().into_iter().chain(std::mem::take(&mut left.joiners));
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
        left
    }

    /// Returns all peers, in the order of their ids.
    #[cfg(feature = "cluster")]
    pub(crate) fn all_peers(&self) -> Vec<PeerId> {
        let mut peers: Vec<_> = self.peers.keys().copied().collect();
        peers.sort_unstable();
        peers
    }

    /// Returns the peers at the two ends of a link: the joiner and the member.
    #[cfg(feature = "cluster")]
    pub(crate) fn ends(&self, id: LinkId) -> Option<[PeerId; 2]> {
        self.links.get(&id).map(|link| [link.joiner.peer, link.member.peer])
    }

    /// Removes a link without notifying either end.
    #[cfg(feature = "cluster")]
    pub(crate) fn unlink(&mut self, id: LinkId, actions: &mut Vec<Action>) {
        if let Some([joiner, _]) = self.ends(id) {
            self.joined_mut(joiner).link = None;
            self.remove(id, actions);
        }
    }

    /// Removes a link that its joiner no longer refers to, without notifying either end.
    fn remove(&mut self, id: LinkId, actions: &mut Vec<Action>) {
        let link = self.links.remove(&id).expect("a peer's links exist");
        self.joined_mut(link.member.peer).joiners.remove(&id);
        actions.push(Action::ReleaseLink(id));
    }

    /// Returns the id of the member at the end of a link.
    fn member_id(&self, link: LinkId) -> MemberId {
        self.joined(self.links[&link].member.peer).id
    }
}

#[cfg(test)]
impl<R> Links<R> {
    pub(crate) fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer<R>)> {
        self.peers.iter().map(|(&id, peer)| (id, peer))
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(&id, link)| (id, link))
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }
}
