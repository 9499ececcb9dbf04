//! A node's copy of the member list of one group.

use std::collections::HashMap;
use std::time::Duration;

use super::{Entry, MemberList, Token, Version};
use crate::protocol::{Member, Members, Position};

/// No member has this position or a higher one.
const MAX_POSITION: u64 = u64::MAX;

/// The list as of the last reply of the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberCopy {
    version: Option<Version>,
    entries: HashMap<Token, Entry>,
    /// The same entries, in the form that the decision on a `connect` needs.
    members: Members<Token>,
    /// The engine's time of the reply.
    now: Duration,
}

impl MemberCopy {
    /// Returns the version of the list. `None` if the list is absent, or was never read.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    /// Returns the lineage of the list, if it exists.
    pub(super) fn lineage(&self) -> Option<u64> {
        self.version.map(|version| version.lineage)
    }

    /// Returns the engine's time of the last reply.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Returns the members, for decisions.
    pub(super) fn members(&self) -> &Members<Token> {
        &self.members
    }

    /// Returns the entry of a member.
    pub(super) fn entry(&self, token: Token) -> Option<Entry> {
        self.entries.get(&token).copied()
    }

    /// Iterates over all entries, in any order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.values().copied()
    }

    /// Applies a reply. Returns whether positions were assigned anew, so that each search must be rewound: the list was
    /// founded anew, or the engine has lost members.
    ///
    /// Changes only what differs, so that the members remember which of them changed their ids.
    pub(super) fn update(&mut self, list: &MemberList) -> bool {
        self.now = list.now;
        let Some(entries) = &list.entries else { return false };
        let founded_anew = self.lineage() != list.version.map(|version| version.lineage);
        if founded_anew {
            self.entries.clear();
            self.members = Members::default();
        }
        // The first position is 1. The last one is reserved, because a search counts past the positions that it visits.
        let is_position = |entry: &&Entry| (1..MAX_POSITION).contains(&entry.position);
        let mut unique: Vec<_> = entries.iter().filter(is_position).copied().collect();
        unique.sort_unstable_by_key(|entry| (entry.position, entry.token));
        // An engine that works never has two members at one position. A broken one must not break this node.
        unique.dedup_by_key(|entry| entry.position);
        let count = |version: Option<Version>| version.map_or(0, |version| version.count.min(MAX_POSITION - 1));
        let went_back = count(list.version) < count(self.version);
        let new: HashMap<_, _> = unique.into_iter().map(|entry| (entry.token, entry)).collect();
        for old in self.entries.values().filter(|old| new.get(&old.token).is_none_or(|new| !is_rename(old, new))) {
            self.members.remove(position(old), old.id);
        }
        // In the order of positions, so that the marks of renamed members do not depend on the order of the entries.
        let mut changed: Vec<_> = new.values().filter(|new| self.entries.get(&new.token) != Some(new)).collect();
        changed.sort_unstable_by_key(|entry| entry.position);
        for new in changed {
            match self.entries.get(&new.token) {
                Some(old) if is_rename(old, new) => self.members.rename(position(old), old.id, new.id),
                _ => self.members.insert_with(position(new), Member::new(new.token, new.id, new.since)),
            }
        }
        self.version = list.version;
        self.members.set_last(count(list.version));
        self.entries = new;
        founded_anew || went_back
    }
}

/// Returns whether two entries of one member differ in nothing but the id.
fn is_rename(old: &Entry, new: &Entry) -> bool {
    (old.position, old.favored, old.since) == (new.position, new.favored, new.since)
}

fn position(entry: &Entry) -> Position {
    Position::new(entry.favored, entry.position)
}

#[cfg(test)]
mod tests {
    use super::super::{NodeId, StepResult};
    use super::*;
    use crate::protocol::{MemberId, PeerId, Search};

    fn token(n: u64) -> Token {
        Token { node: NodeId(n), peer: PeerId(n) }
    }

    fn entry(n: u64, position: u64, id: u32) -> Entry {
        Entry { token: token(n), position, id: MemberId(id), favored: false, since: Duration::ZERO }
    }

    fn list(count: u64, lineage: u64, entries: &[Entry]) -> MemberList {
        let version = Some(Version { count, nonce: count, lineage });
        let entries = Some(entries.to_vec());
        MemberList { result: StepResult::Applied, version, entries, now: Duration::ZERO }
    }

    /// The members that a search selects, one after another.
    fn selected(copy: &MemberCopy, search: &mut Search, count: usize) -> Vec<u64> {
        let mut select = || {
            let selection = search.select(copy.members(), token(99)).expect("the list has members");
            search.record(&selection, copy.members());
            selection.member.peer.node.0
        };
        (0..count).map(|_| select()).collect()
    }

    #[test]
    fn copy_has_the_order_of_the_list() {
        let mut copy = MemberCopy::default();
        let favored = Entry { favored: true, ..entry(3, 3, 30) };
        assert!(copy.update(&list(3, 1, &[entry(2, 2, 20), favored, entry(1, 1, 10)])));
        assert_eq!(selected(&copy, &mut Search::default(), 4), [3, 1, 2, 3]);
        assert_eq!(copy.entry(token(3)), Some(favored));
    }

    #[test]
    fn search_continues_when_members_are_added_removed_and_renamed() {
        let (mut copy, mut search) = (MemberCopy::default(), Search::default());
        copy.update(&list(3, 1, &[entry(1, 1, 10), entry(2, 2, 20), entry(3, 3, 30)]));
        assert_eq!(selected(&copy, &mut search, 2), [1, 2]);
        assert!(!copy.update(&list(4, 1, &[entry(1, 1, 11), entry(3, 3, 30), entry(4, 4, 40)])));
        assert_eq!(selected(&copy, &mut search, 3), [1, 3, 4], "1 has an id that the search has not tried");
    }

    #[test]
    fn list_that_was_founded_anew_replaces_the_copy() {
        let (mut copy, mut search) = (MemberCopy::default(), Search::default());
        copy.update(&list(9, 1, &[entry(1, 9, 10)]));
        assert_eq!(selected(&copy, &mut search, 1), [1]);
        assert!(copy.update(&list(2, 2, &[entry(1, 1, 10), entry(2, 2, 20)])));
        search.rewind();
        assert_eq!(selected(&copy, &mut search, 1), [2], "the id of 1 stays tried");
        assert!(copy.update(&MemberList { version: None, ..list(0, 0, &[]) }), "the list was deleted");
        assert!(copy.members().is_empty() && copy.version().is_none());
    }

    #[test]
    fn second_member_at_one_position_is_ignored() {
        let mut copy = MemberCopy::default();
        copy.update(&list(2, 1, &[entry(2, 1, 20), entry(1, 1, 10), entry(3, 2, 30)]));
        assert_eq!(selected(&copy, &mut Search::default(), 2), [1, 3]);
        copy.update(&list(2, 1, &[entry(2, 1, 20), entry(3, 2, 30)]));
        assert_eq!(selected(&copy, &mut Search::default(), 2), [2, 3]);
    }

    #[test]
    fn reply_without_entries_changes_only_the_time() {
        let mut copy = MemberCopy::default();
        copy.update(&list(1, 1, &[entry(1, 1, 10)]));
        let now = Duration::from_secs(5);
        assert!(!copy.update(&MemberList { entries: None, now, ..list(1, 1, &[]) }));
        assert_eq!((copy.now(), copy.entries().count()), (now, 1));
    }
}
