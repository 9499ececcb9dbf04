//! Several nodes over one engine, to which faults happen.

use std::time::Duration;

use sigver::GroupKey;
use sigver::cluster::{Entry, Faults, GroupTag, MemoryBackplane, Snapshot};
use tokio::time::{sleep, timeout};

use crate::fault::{Class, Fault};
use crate::node::Node;

/// The number of nodes.
pub(crate) const NODES: usize = 3;

pub(crate) struct Cluster {
    /// A connection to the engine without faults.
    pub(crate) engine: MemoryBackplane,
    pub(crate) nodes: Vec<Node>,
    snapshot: Option<Snapshot>,
    class: Class,
}

impl Cluster {
    pub(crate) fn start(class: Class) -> Self {
        let engine = MemoryBackplane::new();
        let nodes = (0..NODES).map(|_| Node::start(&engine, class)).collect();
        Self { nodes, engine, snapshot: None, class }
    }

    /// Returns the node whose peers are lost, if the fault is a crash. Another node starts in its place.
    pub(crate) fn apply(&mut self, fault: Fault) -> Option<usize> {
        let connection = |node: usize| &self.nodes[node].backplane.connection;
        match fault {
            Fault::Connection(node, faults) => connection(node).set_faults(faults),
            Fault::Outage(outage) => self.engine.outage(outage),
            Fault::Restore => self.engine.restore(),
            Fault::Cut(node, outage) => connection(node).cut(outage),
            Fault::Heal(node) => connection(node).heal(),
            Fault::Snapshot => self.snapshot = Some(self.engine.snapshot()),
            Fault::Rollback => self.snapshot.iter().for_each(|snapshot| self.engine.rollback(snapshot)),
            Fault::TurnClockBack(by) => self.engine.turn_clock_back(by),
            Fault::Wipe => self.engine.wipe(),
            Fault::TrimInbox(node, kept) => {
                let node = self.nodes[node].backplane.node();
                node.into_iter().for_each(|node| self.engine.trim_inbox(node, kept));
            }
            Fault::WipeInbox(node) => {
                let node = self.nodes[node].backplane.node();
                node.into_iter().for_each(|node| self.engine.wipe_inbox(node));
            }
            Fault::Crash(node) => {
                self.nodes[node].crash();
                self.nodes[node] = Node::start(&self.engine, self.class);
                return Some(node);
            }
            Fault::Pause(node, connections) => self.nodes[node].pause(connections),
            Fault::Resume(node) => self.nodes[node].resume(),
        }
        None
    }

    /// Ends all faults.
    pub(crate) fn end_faults(&self) {
        for node in &self.nodes {
            node.resume();
            node.backplane.connection.set_faults(Faults::default());
            node.backplane.connection.heal();
        }
        self.engine.restore();
    }

    /// Checks that the list of a group has the members that the nodes have, and that each half of a link has the other.
    ///
    /// Returns the number of entries of peers that have left, of nodes that have no peer in the group. Such a node
    /// learns of them when a peer of another node is bound to them.
    pub(crate) async fn check_group(&self, key: &str) -> Result<usize, String> {
        let (mut members, mut nodes, mut joiners, mut bound) = (Vec::new(), Vec::new(), 0, 0);
        for node in &self.nodes {
            let id = node.backplane.node().expect("each node has beaten");
            let peers = node.hub.peers(key);
            if peers.is_empty() {
                nodes.push(id);
            }
            for peer in peers {
                members.extend(peer.member_id.map(|member_id| (id, peer.id, member_id)));
                joiners += peer.joiners;
                bound += usize::from(peer.is_bound);
            }
        }
        let entries = self.entries(key).await;
        let listed = entries.into_iter().map(|entry| (entry.token.node, entry.token.peer, entry.id));
        let (strays, mut listed): (Vec<_>, Vec<_>) = listed.partition(|(node, ..)| nodes.contains(node));
        listed.sort_unstable();
        members.sort_unstable();
        // Without peers, no node has read the list since, so entries of crashed nodes may remain.
        if nodes.len() < NODES && listed != members {
            return Err(format!("group {key}: the list has {listed:?}, the nodes have {members:?}"));
        }
        if joiners != bound {
            return Err(format!("group {key}: {bound} peers are bound, but members have {joiners} joiners"));
        }
        Ok(strays.len())
    }

    /// Returns the entries of a group, read without faults.
    pub(crate) async fn entries(&self, key: &str) -> Vec<Entry> {
        let tag = GroupTag::new(&GroupKey::new(key).expect("a valid key"));
        for node in &self.nodes {
            if let Some(entries) = node.backplane.entries(&self.engine, tag).await {
                return entries;
            }
        }
        // No node has ever started a step.
        Vec::new()
    }

    /// Returns whether the list of a group has entries of running nodes. Those of crashed nodes disappear when a peer
    /// connects.
    pub(crate) async fn has_members(&self, key: &str) -> bool {
        let is_running = |entry: Entry| self.nodes.iter().any(|node| node.backplane.node() == Some(entry.token.node));
        self.entries(key).await.into_iter().any(is_running)
    }

    /// Checks that the nodes have nothing left after all peers have left.
    pub(crate) fn check_empty(&self) -> Result<(), String> {
        for (nth, node) in self.nodes.iter().enumerate() {
            let stats = node.hub.stats();
            let groups = node.hub.groups();
            if (stats.peers, stats.groups, stats.links) != (0, 0, 0) {
                return Err(format!("node {nth} has {stats:?}, {groups:?} after all peers have left"));
            }
        }
        Ok(())
    }

    /// Drops the handles of all hubs, and checks that the drivers complete and that the engine forgets everything.
    pub(crate) async fn check_shutdown(self) -> Result<(), String> {
        let drivers: Vec<_> = self.nodes.into_iter().map(Node::shut_down).collect();
        for driver in drivers {
            let completed = timeout(Duration::from_secs(10), driver).await;
            completed.map_err(|_| "a driver does not complete after its hub was dropped")?.expect("no panic");
        }
        sleep(Duration::from_secs(6 * 60 * 60 + 1)).await;
        match (self.engine.list_count(), self.engine.inbox_count()) {
            (0, 0) => Ok(()),
            counts => Err(format!("the engine has {counts:?} lists and inboxes after their time to live")),
        }
    }
}
