//! Random scripts: peers observe the same on one hub without a cluster, on a cluster of one node, and on three nodes.
//!
//! The next step of a script begins when all consequences of the last one are visible.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use sigver::cluster::Faults;
use sigver::protocol::Message;
use sigver::{JoinRequest, SignalingHub};
use tokio::time::sleep;

use crate::cluster::{Cluster, SECOND, millis};
use crate::peer::{Peer, Seen};
use crate::switch::Switch;

const PEERS: usize = 6;
const STEPS: usize = 40;

/// The number of scripts of one run in CI.
const SCRIPTS: u64 = 2000;

#[derive(Debug)]
enum Step {
    Join { favored: bool },
    Connect { id: u32, named: Vec<u32> },
    Content { recipient: Recipient, last: bool },
    Leave,
}

#[derive(Debug)]
enum Recipient {
    Member,
    MemberId(u32),
    /// The nth link with a joiner that the peer knows of, modulo their number.
    Joiner(usize),
}

/// A script: which peer does what, and on which of three nodes each peer is.
#[derive(Debug)]
struct Script {
    seed: u64,
    nodes: [usize; PEERS],
    steps: Vec<(usize, Step)>,
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let nodes = [(); PEERS].map(|()| rng.usize(..3));
        // Some peers share an id. Ids from 100 are used after a rename.
        let mut id = {
            let mut rng = rng.fork();
            move |peer: usize| 1 + peer as u32 % 5 + 100 * u32::from(rng.u8(..5) == 0)
        };
        let mut steps: Vec<_> = (0..3).map(|peer| (peer, Step::Join { favored: false })).collect();
        let mut connects = [0; PEERS];
        while steps.len() < STEPS {
            let peer = rng.usize(..PEERS);
            let step = match rng.u8(..10) {
                0 => Step::Join { favored: rng.u8(..4) == 0 },
                // More connects in one second would wait.
                1..=5 if connects[peer] < 15 => {
                    connects[peer] += 1;
                    let named = (0..rng.usize(..3)).map(|_| id(rng.usize(..PEERS))).collect();
                    Step::Connect { id: id(peer), named }
                }
                1..=8 => {
                    let recipient = match rng.u8(..4) {
                        0 | 1 => Recipient::Member,
                        2 => Recipient::Joiner(rng.usize(..4)),
                        _ => Recipient::MemberId(id(rng.usize(..PEERS))),
                    };
                    Step::Content { recipient, last: rng.u8(..8) == 0 }
                }
                _ => Step::Leave,
            };
            steps.push((peer, step));
        }
        Self { seed, nodes, steps }
    }

    /// Runs the script in a group of its own, and returns what each peer has observed after each step.
    async fn run(&self, hubs: &[SignalingHub], settle: Duration) -> Vec<String> {
        let key = format!("script {}", self.seed);
        let mut peers = [const { None::<Peer> }; PEERS];
        let mut known_joiners: [Vec<u32>; PEERS] = Default::default();
        // Link ids are random, so they are replaced by the order in which they appear.
        let (mut links, mut transcript) = (HashMap::new(), Vec::new());
        for (nth, (peer, step)) in self.steps.iter().enumerate() {
            match (step, &peers[*peer]) {
                (Step::Join { favored }, None) => {
                    let hub = &hubs[self.nodes[*peer] % hubs.len()];
                    let request = JoinRequest::new(&*key).favored(*favored);
                    peers[*peer] = Some(Peer::join(hub, &Switch::default(), request));
                    known_joiners[*peer].clear();
                }
                (Step::Connect { id, named }, Some(peer)) => peer.send_connect(*id, named),
                (Step::Content { recipient, last }, Some(sender)) => {
                    let known = &known_joiners[*peer];
                    let recipient = match recipient {
                        Recipient::Joiner(nth) if !known.is_empty() => known[nth % known.len()],
                        Recipient::MemberId(id) => *id,
                        Recipient::Member | Recipient::Joiner(_) => 0,
                    };
                    let data = format!("{nth}");
                    sender.send(if *last {
                        Message::last_content(recipient, data)
                    } else {
                        Message::content(recipient, data)
                    });
                }
                (Step::Leave, Some(_)) => peers[*peer] = None,
                (Step::Join { .. }, Some(_)) | (_, None) => continue,
            }
            sleep(settle).await;
            let mut line = format!("{nth}. {peer} {step:?}:");
            for (peer, slot) in peers.iter_mut().enumerate() {
                let Some(seen) = slot.as_ref().map(Peer::take_seen) else { continue };
                if matches!(seen.last(), Some(Seen::Close(..) | Seen::Lost)) {
                    *slot = None;
                }
                for seen in seen {
                    let next = links.len();
                    let link = match seen {
                        Seen::FromJoiner(link, _) | Seen::FromMember(link, _) => *links.entry(link).or_insert(next),
                        _ => 0,
                    };
                    if let Seen::FromJoiner(link, _) = seen
                        && !known_joiners[peer].contains(&link)
                    {
                        known_joiners[peer].push(link);
                    }
                    write!(line, " [{peer} {} {link}]", seen.to_text()).expect("a string has room");
                }
            }
            transcript.push(line);
        }
        drop(peers);
        sleep(settle).await;
        transcript
    }
}

/// How a cluster differs from one hub.
#[derive(Clone, Copy, Debug)]
struct Setup {
    nodes: usize,
    /// The longest time that a request or a reply takes, in milliseconds.
    max_delay: u64,
}

const ONE_NODE: Setup = Setup { nodes: 1, max_delay: 0 };
const THREE_NODES: Setup = Setup { nodes: 3, max_delay: 0 };
const SLOW_NODES: Setup = Setup { nodes: 3, max_delay: 3 };

async fn compare(setup: Setup, seeds: Range<u64>) {
    let cluster = Cluster::start(setup.nodes).await;
    for node in 0..setup.nodes {
        let delay = millis(0)..=millis(setup.max_delay);
        let faults = Faults::new(node as u64).request_delay(delay.clone()).reply_delay(delay);
        cluster.tap(node).engine.set_faults(faults);
    }
    let plain = [SignalingHub::new()];
    let hubs: Vec<_> = cluster.nodes.iter().map(|node| node.hub.clone()).collect();
    let settle = millis(1 + 12 * setup.max_delay);
    let (mut answers, mut contents, mut evictions) = (0, 0, 0);
    for seed in seeds.clone() {
        let script = Script::new(seed);
        let (expected, seen) = (script.run(&plain, millis(1)).await, script.run(&hubs, settle).await);
        if let Some(at) = (0..expected.len()).find(|&nth| seen[nth] != expected[nth]) {
            let (before, nodes) = (expected[..at].join("\n"), script.nodes);
            let (seen, expected) = (&seen[at], &expected[at]);
            panic!("{setup:?}, seed {seed}, nodes {nodes:?}, after\n{before}\nseen:\n{seen}\nexpected:\n{expected}");
        }
        let all = expected.concat();
        answers += all.matches("true").count() + all.matches("false").count();
        contents += all.matches("joiner: ").count() + all.matches("member: ").count();
        evictions += all.matches("close 4744").count();
    }
    let scripts = seeds.count();
    assert!(answers > 5 * scripts && contents > 2 * scripts && 3 * evictions > scripts, "the scripts do too little");
    drop(hubs);
    sleep(SECOND).await;
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn peers_observe_the_same_in_a_cluster_of_one_node_as_on_one_hub() {
    compare(ONE_NODE, 0..SCRIPTS).await;
}

#[tokio::test(start_paused = true)]
async fn peers_observe_the_same_in_a_cluster_of_three_nodes_as_on_one_hub() {
    compare(THREE_NODES, 0..SCRIPTS).await;
}

#[tokio::test(start_paused = true)]
async fn peers_observe_the_same_in_a_cluster_of_three_slow_nodes_as_on_one_hub() {
    compare(SLOW_NODES, 0..SCRIPTS / 4).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "50 times as many scripts"]
async fn peers_observe_the_same_in_a_cluster_as_on_one_hub_in_many_scripts() {
    for setup in [ONE_NODE, THREE_NODES, SLOW_NODES] {
        compare(setup, SCRIPTS..50 * SCRIPTS).await;
    }
}
