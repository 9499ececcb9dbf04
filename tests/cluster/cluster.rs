//! Several hubs with their drivers, on one engine.

use std::time::Duration;

use sigver::cluster::MemoryBackplane;
use sigver::{ClusterConfig, HubBuilder, HubStats, JoinRequest, SignalingHub};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::peer::Peer;
use crate::switch::Switch;
use crate::tap::Tap;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What an evicted member observes.
pub(crate) const EVICTED: &str = "close 4744: the only member did not accept a joiner";

/// What a peer observes whose `connect` has no answer in time.
pub(crate) const UNANSWERED: &str =
    "close 1013: connect has no answer within 15s; the engine of the cluster did not answer in time";

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits until all that can happen without the passing of time has happened: the paused clock advances only then.
pub(crate) async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

pub(crate) struct Cluster {
    pub(crate) engine: MemoryBackplane,
    pub(crate) nodes: Vec<Node>,
}

pub(crate) struct Node {
    pub(crate) hub: SignalingHub,
    pub(crate) tap: Tap,
    pub(crate) driver: JoinHandle<()>,
    pub(crate) switch: Switch,
}

impl Cluster {
    /// Starts nodes with the default settings. They know each other.
    pub(crate) async fn start(nodes: usize) -> Self {
        Self::with(nodes, |hub, cluster| (hub, cluster)).await
    }

    /// Starts nodes whose settings the function changes.
    pub(crate) async fn with(
        nodes: usize,
        configure: impl Fn(HubBuilder, ClusterConfig) -> (HubBuilder, ClusterConfig),
    ) -> Self {
        let mut cluster = Self { engine: MemoryBackplane::new(), nodes: Vec::new() };
        for _ in 0..nodes {
            cluster.add(&configure);
        }
        // One more beat of each node.
        sleep(2 * SECOND).await;
        settle().await;
        cluster
    }

    /// Starts another node.
    pub(crate) fn add(&mut self, configure: impl Fn(HubBuilder, ClusterConfig) -> (HubBuilder, ClusterConfig)) {
        let tap = Tap::new(self.engine.connect());
        let (hub, cluster) = configure(SignalingHub::builder(), ClusterConfig::new(tap.clone()));
        let (hub, driver) = hub.build_cluster(cluster).expect("valid settings");
        let switch = Switch::default();
        let driver = tokio::spawn(switch.clone().run(driver));
        self.nodes.push(Node { hub, tap, driver, switch });
    }

    /// Joins the group "K" on a node.
    pub(crate) fn join(&self, node: usize) -> Peer {
        self.join_as(node, "K")
    }

    pub(crate) fn join_as(&self, node: usize, request: impl Into<JoinRequest>) -> Peer {
        let Node { hub, switch, .. } = &self.nodes[node];
        Peer::join(hub, switch, request)
    }

    /// Joins the group "K" on a node, with a peer that sends no heartbeats.
    pub(crate) fn join_silent(&self, node: usize) -> Peer {
        let Node { hub, switch, .. } = &self.nodes[node];
        Peer::join_silent(hub, switch, "K")
    }

    /// Joins the group "K" on a node, and connects. The peer must become a member.
    pub(crate) async fn member(&self, node: usize, id: u32, members: &[u32]) -> Peer {
        let peer = self.join(node);
        assert!(peer.connect(id, members).await, "{id} becomes a member");
        peer
    }

    /// Joins the group "K" on a node, and connects. The peer must be bound to a member.
    pub(crate) async fn joiner(&self, node: usize, id: u32) -> Peer {
        let peer = self.join(node);
        assert!(!peer.connect(id, &[]).await, "{id} is bound to a member");
        peer
    }

    /// Returns the connection of a node to the engine.
    pub(crate) fn tap(&self, node: usize) -> &Tap {
        &self.nodes[node].tap
    }

    /// Ends a node without notice, with the sockets of its peers.
    pub(crate) async fn crash(&mut self, node: usize, peers: impl IntoIterator<Item = Peer>) {
        self.nodes[node].driver.abort();
        for peer in peers {
            peer.served.abort();
            settle().await;
            assert_eq!(peer.take(), ["lost"], "a peer of the node loses its socket");
        }
        self.nodes.remove(node);
    }

    /// Ends the cluster, and checks that nothing is left. All peers must have left.
    pub(crate) async fn finish(self) {
        settle().await;
        assert_eq!(self.engine.list_count(), 0, "no member list is left");
        for Node { hub, .. } in &self.nodes {
            let HubStats { peers, groups, links, reserved_outbox_bytes, .. } = hub.stats();
            assert_eq!((peers, groups, links, reserved_outbox_bytes), (0, 0, 0, 0), "nothing is left in a hub");
        }
        let drivers: Vec<_> = self.nodes.into_iter().map(|node| node.driver).collect();
        sleep(3 * SECOND).await;
        for driver in drivers {
            assert!(driver.is_finished(), "the driver completes after the last handle was dropped");
            driver.await.expect("a driver does not panic");
        }
        sleep(61 * SECOND).await;
        assert_eq!(self.engine.inbox_count(), 0, "no inbox is left");
    }
}

/// Sends content from a joiner to its member and back.
pub(crate) async fn assert_linked(joiner: &Peer, member: &Peer) {
    joiner.send_content(0, "offer");
    settle().await;
    let (link, offer) = member.take_link();
    assert_eq!(offer, "offer");
    member.send_content(link, "answer");
    settle().await;
    assert_eq!(joiner.take(), ["member: answer"]);
}
