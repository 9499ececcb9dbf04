//! What tests check between two events of a group.

use std::hash::Hash;

use super::super::links::{End, Link};
use super::*;

impl Group {
    /// Checks that peers, members, links and searches agree.
    pub(in crate::protocol) fn assert_invariants(&self) {
        let mut order = Vec::new();
        for (peer, entry) in self.links.peers() {
            let Membership { position, evicted, ref search, .. } = entry.role;
            if let Some(position) = position {
                order.push((position, peer, entry.id));
                assert!(!evicted && search.is_empty(), "a member is not evicted and has no search");
            }
            if let Some(link) = entry.link {
                assert_eq!(self.link(link).joiner.peer, peer, "a joiner's link refers to the joiner");
            }
            for &link in &entry.joiners {
                assert_eq!(self.link(link).member.peer, peer, "a member's link refers to the member");
            }
            for (position, member) in self.members.in_order() {
                let skipped = search.has_passed(position) && !search.has_tried(member.id);
                assert!(
                    !skipped || self.members.is_renamed(position),
                    "a search passes only members that it has tried"
                );
            }
        }
        order.sort_unstable();
        let members = self.members.in_order().map(|(position, member)| (position, member.peer, member.id));
        assert_eq!(order, members.collect::<Vec<_>>(), "members and peers agree");
        for (id, link) in self.links.links() {
            assert_ne!(link.joiner.peer, link.member.peer, "a peer is not its own joiner");
            assert!(!(link.joiner.ended && link.member.ended), "a link is removed when both directions have ended");
            assert_eq!(self.links.joined(link.joiner.peer).link, Some(id), "the joiner refers to the link");
            assert!(self.links.joined(link.member.peer).joiners.contains(&id), "the member refers to the link");
        }
    }

    /// Returns the members in the order of selection.
    pub(in crate::protocol) fn order(&self) -> Vec<PeerId> {
        self.members.in_order().map(|(_, member)| member.peer).collect()
    }

    /// Returns the member that a joiner is bound to.
    pub(in crate::protocol) fn bound_to(&self, joiner: PeerId) -> Option<PeerId> {
        self.links.joined(joiner).link.map(|link| self.link(link).member.peer)
    }

    pub(in crate::protocol) fn has_link(&self, link: LinkId) -> bool {
        self.links.link(link).is_some()
    }

    fn link(&self, id: LinkId) -> &Link {
        self.links.link(id).expect("a peer's links exist")
    }

    /// Returns the whole state, the same for histories that lead to the same behavior: positions and link numbers count
    /// only by their order.
    pub(in crate::protocol) fn fingerprint(&self) -> impl Hash {
        let order: Vec<_> = self.members.in_order().collect();
        let mut peers: Vec<_> = self.links.peers().collect();
        peers.sort_unstable_by_key(|&(id, _)| id);
        let peers = peers.into_iter().map(|(id, peer)| {
            let Membership { favored, evicted, ref search, .. } = peer.role;
            let search = (!search.is_empty()).then(|| {
                let passed: Vec<_> = order.iter().map(|&(position, _)| search.has_passed(position)).collect();
                (search.tried_ids(), passed)
            });
            (id, (favored, peer.id, evicted, peer.link), &peer.joiners, search)
        });
        let mut links: Vec<_> = self.links.links().collect();
        links.sort_unstable_by_key(|(_, link)| link.nth);
        let end = |end: &End| (end.peer, end.ended);
        let links = links.into_iter().map(|(id, link)| (id, end(&link.joiner), end(&link.member)));
        let members =
            order.iter().map(|&(position, member)| (member.peer, member.id, self.members.is_renamed(position)));
        (peers.collect::<Vec<_>>(), links.collect::<Vec<_>>(), members.collect::<Vec<_>>())
    }
}
