//! What tests look at to see whether a group is sound.

use std::hash::Hash;

use super::*;

impl Group {
    /// Checks everything that has to hold between two events.
    pub(in crate::protocol) fn assert_sound(&self) {
        let mut order: Vec<(Place, Member)> = Vec::new();
        for (&peer, entry) in &self.peers {
            if let Some(place) = entry.place {
                order.push((place, Member { peer, id: entry.id }));
                assert!(!entry.closed && entry.search.is_none(), "a member was neither put out nor is it searching");
            }
            if let Some(link) = entry.bound {
                assert_eq!(self.links[&link].joiner.peer, peer, "a joiner's link names it");
            }
            for link in &entry.joiners {
                assert_eq!(self.links[link].member.peer, peer, "a member's link names it");
            }
            for (place, member) in self.members.in_order() {
                let search = entry.search.as_deref();
                let skipped = search.is_some_and(|search| search.passed(place) && !search.tried(member.id));
                assert!(!skipped || self.members.renamed(place), "a search passes nobody that it has not tried");
            }
        }
        order.sort_by_key(|&(place, _)| place);
        assert_eq!(order, self.members.in_order().collect::<Vec<_>>(), "members and peers agree");
        for (id, link) in &self.links {
            assert_ne!(link.joiner.peer, link.member.peer, "nobody is its own joiner");
            assert!(!(link.joiner.done && link.member.done), "a link that is over both ways is gone");
            assert_eq!(self.peers[&link.joiner.peer].bound, Some(*id), "the joiner knows the link");
            assert!(self.peers[&link.member.peer].joiners.contains(id), "the member knows the link");
        }
    }

    /// The members in the order in which they are offered.
    pub(in crate::protocol) fn order(&self) -> Vec<PeerId> {
        self.members.in_order().map(|(_, member)| member.peer).collect()
    }

    /// The member that a joiner is bound to.
    pub(in crate::protocol) fn bound_to(&self, joiner: PeerId) -> Option<PeerId> {
        self.peer(joiner).bound.map(|link| self.links[&link].member.peer)
    }

    pub(in crate::protocol) fn has_link(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// The whole state without what makes equal histories look different: places are counted from the first member.
    pub(in crate::protocol) fn fingerprint(&self) -> impl Hash {
        let order: Vec<_> = self.members.in_order().collect();
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_unstable_by_key(|&(id, _)| id);
        let peers = peers.into_iter().map(|(id, peer)| {
            let search = peer.search.as_deref().map(|search| {
                let passed: Vec<_> = order.iter().map(|&(place, _)| search.passed(place)).collect();
                (search.tried_ids(), passed)
            });
            (id, (peer.favored, peer.id, peer.closed, peer.bound), &peer.joiners, search)
        });
        let mut links: Vec<_> = self.links.iter().collect();
        links.sort_unstable_by_key(|(_, link)| link.nth);
        let end = |end: &End| (end.peer, end.done);
        let links = links.into_iter().map(|(id, link)| (id, end(&link.joiner), end(&link.member)));
        let members = order.iter().map(|&(place, Member { peer, id })| (peer, id, self.members.renamed(place)));
        (peers.collect::<Vec<_>>(), links.collect::<Vec<_>>(), members.collect::<Vec<_>>())
    }
}
