//! Every peer receives the same from one hub without a cluster, from a cluster of one hub and from one of three hubs.
//!
//! The scripts are sequenced: each action starts when nothing is left to do for the one before it.

use std::time::Duration;

use bytes::Bytes;
use sigver::cluster::MemoryBackplane;
use sigver::{ClusterConfig, HubBuilder, JoinRequest, SignalingHub, memory};
use tokio::time::sleep;

use crate::peer::{Peer, Seen};
use crate::script::{Action, Script, To};
use crate::seeds::for_each_seed;

const MAX_CONNECTED: usize = 6;

/// The hubs of one deployment, with all peers that have ever joined.
struct World {
    name: &'static str,
    hubs: Vec<SignalingHub>,
    backplane: MemoryBackplane,
    peers: Vec<Peer>,
    /// The link ids in the order in which peers have seen them. They are random, so transcripts have their order.
    links: Vec<u32>,
    /// What each peer has received.
    transcripts: Vec<Vec<Seen>>,
}

impl World {
    fn without_cluster(builder: HubBuilder) -> Self {
        let hub = builder.build().expect("valid settings");
        Self::new("one hub without a cluster", vec![hub], MemoryBackplane::new())
    }

    fn cluster(name: &'static str, hubs: usize, builder: &HubBuilder) -> Self {
        let backplane = MemoryBackplane::new();
        let start = |_| {
            let config = ClusterConfig::new(backplane.connect());
            let (hub, driver) = builder.clone().build_cluster(config).expect("valid settings");
            tokio::spawn(driver);
            hub
        };
        Self::new(name, (0..hubs).map(start).collect(), backplane.clone())
    }

    fn new(name: &'static str, hubs: Vec<SignalingHub>, backplane: MemoryBackplane) -> Self {
        Self { name, hubs, backplane, peers: Vec::new(), links: Vec::new(), transcripts: Vec::new() }
    }

    fn act(&mut self, peer: usize, action: &Action, data: &Bytes) {
        match action {
            Action::Join { node, favored } => {
                let (hub_end, client_end) = memory::pair(64);
                let hub = &self.hubs[node % self.hubs.len()];
                tokio::spawn(hub.serve(hub_end, JoinRequest::new("K").favored(*favored)));
                self.peers.push(Peer::new(client_end));
                self.transcripts.push(Vec::new());
            }
            Action::Connect { id, named } => self.peers[peer].send_connect(*id, named),
            Action::Content { to, last } => {
                let recipient = match *to {
                    To::Member => 0,
                    To::MemberId(id) => id,
                    // Now and then it is a link of other peers.
                    To::Joiner(2) => self.links.last().copied().unwrap_or(0),
                    To::Joiner(nth) => self.peers[peer].joiner_links().iter().rev().nth(nth).copied().unwrap_or(0),
                };
                self.peers[peer].send_content(recipient, *last, data.clone());
            }
            Action::Leave { with_close_frame } => self.peers[peer].leave(*with_close_frame),
        }
    }

    /// Adds what the peers have received to their transcripts.
    fn receive(&mut self) {
        for (peer, transcript) in self.peers.iter_mut().zip(&mut self.transcripts) {
            peer.receive();
            for (_, seen) in &peer.seen[transcript.len()..] {
                let mut seen = seen.clone();
                if let Seen::Content { link, .. } = &mut seen {
                    let known = self.links.iter().position(|known| known == link);
                    let order = known.unwrap_or_else(|| {
                        self.links.push(*link);
                        self.links.len() - 1
                    });
                    *link = order as u32;
                }
                transcript.push(seen);
            }
        }
    }
}

/// Waits until nothing is left to do. It includes the pause of a peer that has sent `connect` too often.
async fn settle() {
    sleep(Duration::from_millis(60)).await;
}

async fn compare(seed: u64) {
    let (mut script, mut builder) = (Script::new(seed), SignalingHub::builder());
    if seed.is_multiple_of(8) {
        // No member is evicted.
        builder = builder.eviction_min_age(Duration::from_secs(3600));
    }
    let mut worlds = [
        World::cluster("a cluster of one hub", 1, &builder),
        World::cluster("a cluster of three hubs", 3, &builder),
        World::without_cluster(builder),
    ];
    for nth in 0..48u8 {
        let connected: Vec<_> =
            (0..worlds[2].peers.len()).filter(|&peer| worlds[2].peers[peer].is_connected()).collect();
        let (peer, action) = script.next(connected.len(), MAX_CONNECTED);
        let peer = connected.get(peer).copied().unwrap_or(0);
        act(&mut worlds, peer, &action, nth).await;
    }
    for peer in 0..worlds[2].peers.len() {
        act(&mut worlds, peer, &Action::Leave { with_close_frame: peer.is_multiple_of(2) }, 0).await;
    }
    for world in &worlds {
        assert_eq!(world.backplane.list_count(), 0, "{}: no list remains", world.name);
        for stats in world.hubs.iter().map(SignalingHub::stats) {
            assert_eq!((stats.peers, stats.groups, stats.links), (0, 0, 0), "{}", world.name);
        }
    }
}

/// Lets a peer of each world act, and compares what all peers have received since.
async fn act(worlds: &mut [World; 3], peer: usize, action: &Action, nth: u8) {
    worlds.iter_mut().for_each(|world| world.act(peer, action, &vec![1, nth].into()));
    settle().await;
    worlds.iter_mut().for_each(World::receive);
    let [clusters @ .., expected] = worlds;
    for cluster in clusters {
        let name = cluster.name;
        assert_eq!(cluster.transcripts, expected.transcripts, "{name}, action {nth} of peer {peer}: {action:?}");
    }
}

#[test]
fn peers_receive_the_same_on_one_hub_and_on_three() {
    for_each_seed("oracle", 2000, compare);
}
