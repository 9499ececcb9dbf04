//! Which nodes are alive: what one node proposes to the engine, and what it concludes from the replies.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use super::{Beat, NodeId};

/// How long a missing verdict is written again after this node learned of it.
///
/// A forgotten verdict matters only while an entry names the node. An entry expires 6 h after the last change of its
/// list, and each node that changes or audits a list removes the entries of dead nodes. The rest is a margin for clocks
/// that run at different speeds. If something names a forgotten node later, [`Nodes::watch`] leads to a new verdict. A
/// forgotten node that resumes finds its own count absent, and audits its groups.
const VERDICT_KEPT: Duration = Duration::from_secs(7 * 60 * 60);

/// The number of proposals in one beat, so that an engine that lost many verdicts is not blocked by one script.
const MAX_PROPOSALS: usize = 1000;

/// The number of watched nodes above which [`Nodes::watch`] ignores further names. Other nodes choose the names.
const MAX_WATCHED: usize = 4096;

/// One node's view of which nodes are alive. It has no clock: `now` is the time on the node's monotonic clock.
///
/// Every `beat_interval`, the driver starts a beat, sends it to the backplane, and finishes it with the reply:
/// ```text
/// let call = nodes.start_beat(now);
/// let reply = backplane.beat(call.me, &call.silent).await;
/// let events = nodes.finish_beat(call, &reply);        // or drop the call after an error
/// ```
/// One beat is in flight at a time. The driver may give up a beat and start the next one. Then the reply to the earlier
/// one has no effect, whenever it arrives.
///
/// # Heard time
/// Silence is measured in heard time, which advances with successful beats only, by at most 1.5 intervals (3 s) for
/// each. So an outage of any length makes no node look silent. A node that beats is never declared dead if the engine
/// works for at least one interval between two outages, because then each node's beat succeeds between them.
#[derive(Debug)]
pub(crate) struct Nodes {
    me: NodeId,
    beat_interval: Duration,
    node_timeout: Duration,
    /// The number of calls that were started or made void. Only the call with this number may finish.
    calls: u64,
    /// When the last successful beat started.
    last_beat: Option<Duration>,
    /// The heard time at `last_beat`.
    heard: Duration,
    /// This node's own count in the last reply. 0 if there was none.
    count: u64,
    /// The other nodes that are not known to be dead.
    watched: BTreeMap<NodeId, Watched>,
    dead: BTreeMap<NodeId, Verdict>,
}

/// One call of [`Backplane::beat`](super::Backplane::beat): its arguments, and what [`Nodes::finish_beat`] needs.
#[derive(Debug)]
#[must_use]
pub(crate) struct BeatCall {
    /// This node's incarnation.
    pub(crate) me: NodeId,
    /// The nodes to propose as dead.
    pub(crate) silent: Vec<(NodeId, u64)>,
    number: u64,
    started: Duration,
}

/// What a reply told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeEvent {
    /// The other nodes declared this incarnation dead. The driver calls [`Nodes::new_incarnation`] before the next
    /// beat. Each reply repeats the event until then.
    DeclaredDead,
    /// The engine was wiped or went back in time. The driver audits all groups of this node, spread over 2 s. The event
    /// may occur again before that audit has ended.
    EngineLostState,
    /// A beat succeeded after a gap of more than 1.5 intervals (3 s), and nothing shows that state was lost. If the gap
    /// was a failover, writes after this node's last beat may be lost, which its count does not show. The driver audits
    /// all groups, more slowly than after a loss, because each outage ends with this event on all nodes.
    EngineReturned,
    /// A node was declared dead. Occurs once for each node, also for a node that was dead before this node started.
    Dead(NodeId),
}

/// A node that is watched.
#[derive(Debug)]
struct Watched {
    /// Its count in the last reply. 0 if it was absent: the count of a node that beat is at least 1.
    count: u64,
    /// The heard time at which the count became this.
    since: Duration,
}

/// The verdict that a node is dead.
#[derive(Debug)]
struct Verdict {
    /// Whether the engine had it in the last reply.
    written: bool,
    /// Until when this node writes it again if it is missing. It is forgotten when it is missing after that.
    kept_until: Duration,
}

impl Nodes {
    /// Creates the view of a node that has not beaten. `node_timeout` is at least 4 times `beat_interval`.
    pub(crate) fn new(me: NodeId, beat_interval: Duration, node_timeout: Duration) -> Self {
        Self {
            me,
            beat_interval,
            node_timeout,
            calls: 0,
            last_beat: None,
            heard: Duration::ZERO,
            count: 0,
            watched: BTreeMap::new(),
            dead: BTreeMap::new(),
        }
    }

    /// Starts a beat. The reply to any earlier one has no effect from now on.
    ///
    /// The time since the last beat already counts as silence, because the engine compares each count when it runs the
    /// proposal.
    pub(crate) fn start_beat(&mut self, now: Duration) -> BeatCall {
        self.calls += 1;
        let heard = self.heard_at(now);
        let is_silent = |watched: &Watched| heard.saturating_sub(watched.since) >= self.node_timeout;
        let silent = self.watched.iter().filter(|(_, watched)| is_silent(watched));
        let missing = self.dead.iter().filter(|(_, verdict)| !verdict.written);
        // A node that returned after its verdict was lost beats between this node's beats, so no exact count matches.
        let missing = missing.map(|(&node, _)| (node, u64::MAX));
        let silent = silent.map(|(&node, watched)| (node, watched.count)).chain(missing).take(MAX_PROPOSALS).collect();
        BeatCall { me: self.me, silent, number: self.calls, started: now }
    }

    /// Takes the reply to a beat. Has no effect if a later beat was started, or if the incarnation changed since.
    pub(crate) fn finish_beat(&mut self, call: BeatCall, reply: &Beat) -> Vec<NodeEvent> {
        if call.number != self.calls {
            return Vec::new();
        }
        let now = call.started;
        let is_first = self.last_beat.is_none();
        let is_after_gap = self.beat_age(now).is_some_and(|age| age > self.max_heard());
        self.heard = self.heard_at(now);
        self.last_beat = Some(now);

        let own_count_lost = self.update_own_count(reply);
        let verdict_lost = self.update_verdicts(reply, now);
        let state_lost = own_count_lost || verdict_lost;
        if state_lost {
            self.dead.values_mut().for_each(|verdict| verdict.kept_until = now.saturating_add(VERDICT_KEPT));
        }
        self.dead.retain(|_, verdict| verdict.written || now < verdict.kept_until);
        let new_dead = self.learn_verdicts(reply, now, is_first);
        self.update_watched(reply, state_lost);

        let declared_dead = self.dead.contains_key(&self.me).then_some(NodeEvent::DeclaredDead);
        let engine = match (state_lost, is_after_gap) {
            (true, _) => Some(NodeEvent::EngineLostState),
            (false, true) => Some(NodeEvent::EngineReturned),
            (false, false) => None,
        };
        declared_dead.into_iter().chain(engine).chain(new_dead.into_iter().map(NodeEvent::Dead)).collect()
    }

    /// Watches a node that an entry or a link names: if it is absent from the engine, it is proposed as dead after
    /// `node_timeout`, as a silent one is.
    pub(crate) fn watch(&mut self, node: NodeId, now: Duration) {
        if node != self.me && !self.is_dead(node) && self.watched.len() < MAX_WATCHED {
            let since = self.heard_at(now);
            self.watched.entry(node).or_insert(Watched { count: 0, since });
        }
    }

    /// Returns whether a node that sent a batch is another node that is not known to be dead. Watches it from now on.
    pub(crate) fn is_other(&mut self, node: NodeId, now: Duration) -> bool {
        self.watch(node, now);
        self.watched.contains_key(&node)
    }

    /// Replaces the incarnation of this node, after [`NodeEvent::DeclaredDead`]. From now on, the old one is dead for
    /// this node, too.
    pub(crate) fn new_incarnation(&mut self, me: NodeId, now: Duration) {
        let old = mem::replace(&mut self.me, me);
        let kept_until = now.saturating_add(VERDICT_KEPT);
        self.dead.entry(old).or_insert(Verdict { written: false, kept_until });
        self.watched.remove(&me);
        self.count = 0;
        // A beat of the old incarnation that is still in flight must not finish.
        self.calls += 1;
    }

    /// Returns whether a node is known to be dead. What it sends is dropped, and its members are removed.
    pub(crate) fn is_dead(&self, node: NodeId) -> bool {
        self.dead.contains_key(&node)
    }

    /// Returns the nodes that are known to be dead.
    pub(crate) fn dead(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.dead.keys().copied()
    }

    /// Returns the other nodes that are not known to be dead.
    pub(crate) fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.watched.keys().copied()
    }

    /// Returns the time since the last successful beat started. `None` before the first one.
    ///
    /// The start counts, because a paused node may read a reply long after the engine sent it.
    fn beat_age(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.last_beat?))
    }

    /// Returns the start of the last successful beat.
    pub(crate) fn last_beat(&self) -> Option<Duration> {
        self.last_beat
    }

    /// Returns the time until which this node is ready: 2.5 intervals (5 s) after the last successful beat started.
    pub(crate) fn ready_until(&self) -> Option<Duration> {
        Some(self.last_beat?.saturating_add(self.beat_interval * 5 / 2))
    }

    /// Returns the heard time at `now`, if a beat that starts now succeeds.
    fn heard_at(&self, now: Duration) -> Duration {
        self.heard + self.beat_age(now).unwrap_or_default().min(self.max_heard())
    }

    /// Returns the most that the time between two successful beats counts as heard time.
    fn max_heard(&self) -> Duration {
        self.beat_interval * 3 / 2
    }

    /// Returns whether the engine lost beats of this node. Each beat increments the count, so it rises with each reply.
    fn update_own_count(&mut self, reply: &Beat) -> bool {
        let Some(&Some(count)) = reply.nodes.get(&self.me) else {
            self.count = 0;
            return !reply.nodes.contains_key(&self.me);
        };
        count <= mem::replace(&mut self.count, count)
    }

    /// Returns whether the engine lost a verdict. If one is absent after `kept_until`, the engine may have removed it
    /// because of its age.
    fn update_verdicts(&mut self, reply: &Beat, now: Duration) -> bool {
        let mut lost = false;
        for (node, verdict) in &mut self.dead {
            let state = reply.nodes.get(node);
            let was_written = mem::replace(&mut verdict.written, state == Some(&None));
            let must_exist = now < verdict.kept_until || state.is_some();
            lost |= was_written && !verdict.written && must_exist;
        }
        lost
    }

    /// Returns the other nodes whose verdict this node did not know.
    fn learn_verdicts(&mut self, reply: &Beat, now: Duration, is_first: bool) -> Vec<NodeId> {
        let written = reply.nodes.iter().filter(|(_, state)| state.is_none()).map(|(&node, _)| node);
        let new: Vec<_> = written.filter(|&node| !self.is_dead(node)).collect();
        // The age of a verdict in the first reply is unknown. If it is absent later and nothing shows a loss, the
        // engine removed it because of its age. If young nodes wrote it again, verdicts would never disappear.
        let kept_until = if is_first { now } else { now.saturating_add(VERDICT_KEPT) };
        for &node in &new {
            self.watched.remove(&node);
            self.dead.insert(node, Verdict { written: true, kept_until });
        }
        new.into_iter().filter(|&node| node != self.me).collect()
    }

    /// After a loss, all silence starts over: the counts went back, and nodes may need time to reach the engine again.
    fn update_watched(&mut self, reply: &Beat, state_lost: bool) {
        let since = self.heard;
        for (&node, state) in &reply.nodes {
            if node != self.me && !self.is_dead(node) && state.is_some() {
                self.watched.entry(node).or_insert(Watched { count: 0, since });
            }
        }
        for (node, watched) in &mut self.watched {
            let count = reply.nodes.get(node).copied().flatten().unwrap_or(0);
            if state_lost || count != watched.count {
                *watched = Watched { count, since };
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
