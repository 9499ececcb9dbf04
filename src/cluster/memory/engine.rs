//! The rules of the engine that nodes share, without I/O: member lists, beats and inboxes.
//!
//! Every implementation of [`Backplane`](crate::cluster::Backplane) follows these rules. `cluster/conformance.rs` tests
//! all that a caller can observe. The tests of this file cover the rules about time.
//!
//! # Member lists
//! 1. **Condition.** A step decides its condition on the list as it was before the step. If the condition does not
//!    hold, the step changes nothing. It does not renew the time to live either.
//! 2. **Unchanged** holds if the version of the list is the one that the caller has seen. `None` means that the list is
//!    absent.
//! 3. **Witness** holds if the list has an entry that is equal in every field.
//! 4. **LineageOrAbsent** holds if the list has that lineage or is absent.
//! 5. **Changes** are applied in order, each to the result of the one before it, and either all of them or none.
//! 6. **Add** of a new member increments the count. The entry has the count as its position, and the time of the step.
//!    If the list is absent, the member founds it: the count starts at 0, and the lineage is that of the step.
//! 7. **Add** of a member that is in the list changes its id only: not its position, time or favor, and not the count.
//! 8. **Put** stores an entry as it is, in place of the entry of the same member. If another member has its position,
//!    it gets the next one, as an add does: each position is that of one member. It raises the count to the position of
//!    the entry if the count is lower, so that later positions are higher. If the list is absent, it founds it as an
//!    add does.
//! 9. **Remove** of a member that is not in the list has no effect. The last removal deletes the list. If another
//!    change of the same step then adds a member, that founds a new list. An eviction removes first and adds
//!    afterwards, so it starts a new lineage.
//! 10. **Full.** If the list after all changes has more members than `max_members` and more than before the step, the
//!     result is `Full` and nothing changes. A list that is too long can thus stay and shrink.
//! 11. **Version.** If at least one change had an effect, the version has the nonce of the step. If no change had one
//!     (a repeated add with the same id, a put of an equal entry, a removal of an absent member), the version stays the
//!     same: the copies of other nodes stay current, and their conditions do not fail.
//! 12. **Time to live.** A step that is applied and has at least one change, with or without an effect, lets the list
//!     live for another 6 h. A step without changes does not. An audit therefore puts the entries of its node again.
//! 13. **Reply.** The reply shows the list after the step. It has all entries, unless the list exists and has the
//!     version that the caller has seen. An absent list has no version, and its entries are an empty list.
//! 14. **Times** are whole milliseconds. A fraction in a put entry is dropped.
//!
//! # Beats
//! 15. **Count.** A beat first increments the count of its node, which starts at 1, unless the node is dead.
//! 16. **Proposal.** Then it applies the proposals in order. A proposal takes effect if the count of the named node is
//!     not above the proposed one, or if the node is absent. A node that remembers a verdict repeats it with a high
//!     count.
//! 17. **Verdict.** A dead node stays dead. Neither a beat nor a proposal changes it. A beat first removes the verdicts
//!     that are at least a day old.
//! 18. **Reply.** The reply shows all nodes after that.
//!
//! # Inboxes
//! 19. **Append** adds a batch at the end, and creates an absent inbox. The id of an entry is (milliseconds of the
//!     engine's clock, sequence number), and is above that of the entry before it even if the clock went back.
//! 20. **Limit.** An append drops the oldest entries above `max_inbox_entries`, read or not.
//! 21. **Read** returns the batches after the reader's cursor in order. It does not remove them.
//! 22. **Time to live.** An inbox is deleted 60 s after it was created or last read. An append does not renew this, so
//!     the inbox of a dead node is deleted although others still send to it.
//! 23. **Replaced.** If the last id is below the reader's cursor, the inbox is another one than before. The read
//!     returns all of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::cluster::{Beat, Change, Condition, Entry, GroupTag, MemberList, NodeId, Step, StepResult, Token, Version};

/// The time for which a member list lives after its last change.
const LIST_TTL: Duration = Duration::from_secs(6 * 60 * 60);

/// The time for which an inbox lives after its last read.
const INBOX_TTL: Duration = Duration::from_secs(60);

/// The time after which a verdict is removed.
const VERDICT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of an engine. Times are those of its clock, since the Unix epoch.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Engine {
    lists: BTreeMap<GroupTag, List>,
    nodes: BTreeMap<NodeId, Node>,
    inboxes: BTreeMap<NodeId, Inbox>,
    max_inbox_entries: usize,
}

/// The id of a batch in an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId {
    millis: u64,
    sequence: u64,
}

/// A member list. It has at least one entry.
#[derive(Clone, Debug)]
struct List {
    version: Version,
    entries: BTreeMap<Token, Entry>,
    expires_at: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    Alive(u64),
    Dead { since: Duration },
}

#[derive(Clone, Debug)]
struct Inbox {
    batches: VecDeque<(BatchId, Bytes)>,
    last: BatchId,
    expires_at: Duration,
}

/// A list to which the changes of a step are being applied.
struct Draft<'a> {
    list: Option<List>,
    changed: bool,
    step: &'a Step,
    now: Duration,
}

impl Engine {
    pub(in crate::cluster) fn new(max_inbox_entries: usize) -> Self {
        Self { lists: BTreeMap::new(), nodes: BTreeMap::new(), inboxes: BTreeMap::new(), max_inbox_entries }
    }

    /// Applies a step to the list of a group.
    pub(in crate::cluster) fn step(&mut self, group: GroupTag, step: &Step, now: Duration) -> MemberList {
        let now = whole_millis(now);
        if self.lists.get(&group).is_some_and(|list| list.expires_at <= now) {
            self.lists.remove(&group);
        }
        let result = self.apply(group, step, now);
        let list = self.lists.get(&group);
        let version = list.map(|list| list.version);
        let is_current = version.is_some() && version == step.seen;
        let entries = || list.map(|list| list.entries.values().copied().collect()).unwrap_or_default();
        MemberList { result, version, entries: (!is_current).then(entries), now }
    }

    fn apply(&mut self, group: GroupTag, step: &Step, now: Duration) -> StepResult {
        let list = self.lists.get(&group);
        if !holds(step, list) {
            return StepResult::ConditionFailed;
        }
        if step.changes.is_empty() {
            return StepResult::Applied;
        }
        let mut draft = Draft { list: list.cloned(), changed: false, step, now };
        step.changes.iter().for_each(|&change| draft.apply(change));
        let len = |list: Option<&List>| list.map_or(0, |list| list.entries.len());
        if len(draft.list.as_ref()) > step.max_members.max(len(list)) {
            return StepResult::Full;
        }
        match draft.finish() {
            Some(list) => self.lists.insert(group, list),
            None => self.lists.remove(&group),
        };
        StepResult::Applied
    }

    /// Increments the count of a node and applies its proposals.
    pub(super) fn beat(&mut self, me: NodeId, silent: &[(NodeId, u64)], now: Duration) -> Beat {
        self.nodes.retain(|_, node| !matches!(node, Node::Dead { since } if *since + VERDICT_TTL <= now));
        if let Node::Alive(count) = self.nodes.entry(me).or_insert(Node::Alive(0)) {
            *count = count.saturating_add(1);
        }
        for &(node, proposed) in silent {
            let node = self.nodes.entry(node).or_insert(Node::Alive(0));
            if matches!(node, Node::Alive(count) if *count <= proposed) {
                *node = Node::Dead { since: now };
            }
        }
        let count = |node: &Node| if let Node::Alive(count) = node { Some(*count) } else { None };
        Beat { nodes: self.nodes.iter().map(|(&id, node)| (id, count(node))).collect() }
    }

    /// Appends a batch to the inbox of a node.
    pub(super) fn append(&mut self, to: NodeId, batch: Bytes, now: Duration) {
        self.expire_inbox(to, now);
        let first = BatchId { millis: millis(now), sequence: 0 };
        let inbox = self.inboxes.entry(to).or_insert_with(|| Inbox {
            batches: VecDeque::new(),
            // The first batch gets `first`, because it is above this.
            last: BatchId { millis: 0, sequence: 0 },
            expires_at: now + INBOX_TTL,
        });
        inbox.last = first.max(BatchId { sequence: inbox.last.sequence + 1, ..inbox.last });
        inbox.batches.push_back((inbox.last, batch));
        inbox.trim(self.max_inbox_entries);
    }

    /// Returns the batches of a node's inbox after a cursor, and the cursor after them.
    pub(super) fn read(&mut self, me: NodeId, cursor: Option<BatchId>, now: Duration) -> (Vec<Bytes>, Option<BatchId>) {
        self.expire_inbox(me, now);
        let Some(inbox) = self.inboxes.get_mut(&me) else { return (Vec::new(), cursor) };
        inbox.expires_at = now + INBOX_TTL;
        let cursor = cursor.filter(|&cursor| cursor <= inbox.last);
        let unread = inbox.batches.iter().filter(|(id, _)| Some(*id) > cursor);
        (unread.map(|(_, batch)| batch.clone()).collect(), Some(inbox.last))
    }

    /// Drops the oldest batches of an inbox, read or not, so that at most `kept` remain.
    pub(super) fn trim_inbox(&mut self, node: NodeId, kept: usize) {
        if let Some(inbox) = self.inboxes.get_mut(&node) {
            inbox.trim(kept);
        }
    }

    /// Deletes an inbox.
    pub(super) fn wipe_inbox(&mut self, node: NodeId) {
        self.inboxes.remove(&node);
    }

    /// Deletes everything.
    pub(in crate::cluster) fn wipe(&mut self) {
        *self = Self::new(self.max_inbox_entries);
    }

    /// Returns the number of member lists and the number of inboxes.
    pub(in crate::cluster) fn key_counts(&mut self, now: Duration) -> (usize, usize) {
        self.lists.retain(|_, list| list.expires_at > now);
        self.inboxes.retain(|_, inbox| inbox.expires_at > now);
        (self.lists.len(), self.inboxes.len())
    }

    fn expire_inbox(&mut self, node: NodeId, now: Duration) {
        if self.inboxes.get(&node).is_some_and(|inbox| inbox.expires_at <= now) {
            self.inboxes.remove(&node);
        }
    }
}

impl Draft<'_> {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Add { token, id, favored } => {
                let now = self.now;
                let list = self.list_or_new();
                if let Some(entry) = list.entries.get_mut(&token) {
                    let changed = entry.id != id;
                    entry.id = id;
                    self.changed |= changed;
                } else {
                    list.version.count = list.version.count.saturating_add(1);
                    let entry = Entry { token, position: list.version.count, id, favored, since: now };
                    list.entries.insert(token, entry);
                    self.changed = true;
                }
            }
            Change::Put(entry) => {
                let mut entry = Entry { since: whole_millis(entry.since), ..entry };
                let list = self.list_or_new();
                if list.entries.values().any(|other| other.token != entry.token && other.position == entry.position) {
                    entry.position = list.version.count.saturating_add(1);
                }
                list.version.count = list.version.count.max(entry.position);
                let changed = list.entries.insert(entry.token, entry) != Some(entry);
                self.changed |= changed;
            }
            Change::Remove(token) => {
                let Some(list) = &mut self.list else { return };
                self.changed |= list.entries.remove(&token).is_some();
                if list.entries.is_empty() {
                    self.list = None;
                }
            }
        }
    }

    fn list_or_new(&mut self) -> &mut List {
        let version = Version { count: 0, nonce: self.step.nonce, lineage: self.step.lineage };
        self.list.get_or_insert(List { version, entries: BTreeMap::new(), expires_at: self.now })
    }

    fn finish(self) -> Option<List> {
        let mut list = self.list?;
        list.expires_at = self.now + LIST_TTL;
        if self.changed {
            list.version.nonce = self.step.nonce;
        }
        Some(list)
    }
}

impl Inbox {
    fn trim(&mut self, kept: usize) {
        self.batches.drain(..self.batches.len().saturating_sub(kept));
    }
}

fn holds(step: &Step, list: Option<&List>) -> bool {
    match step.condition {
        Condition::Always => true,
        Condition::Unchanged => list.map(|list| list.version) == step.seen,
        Condition::Witness(entry) => list.and_then(|list| list.entries.get(&entry.token)) == Some(&entry),
        Condition::LineageOrAbsent(lineage) => list.is_none_or(|list| list.version.lineage == lineage),
    }
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(millis(time))
}

/// A `u64` of milliseconds lasts for 584 million years.
fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests;
