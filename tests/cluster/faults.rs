//! Random runs with faults: each `connect` gets one answer or a close, no link loses content, and all nodes agree on the
//! members when the faults are over.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use sigver::cluster::{Faults, Outage};
use tokio::time::sleep;

use crate::cluster::{Cluster, EVICTED, SECOND, millis};
use crate::peer::{Peer, Seen};

const NODES: usize = 3;
const PEERS: usize = 8;
const STEPS: usize = 60;

/// The number of runs of each class in CI.
const RUNS: u64 = 300;

/// The time after which all faults have been repaired: a death verdict, an audit after an outage, and answers.
const REPAIR: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Delays,
    LostRequests,
    LostReplies,
    LateDuplicates,
    LostBatches,
    Outages,
    Wipes,
    Rollbacks,
    Pauses,
    Crashes,
}

/// A peer, and what it must observe.
struct Actor {
    peer: Peer,
    node: usize,
    id: u32,
    connects: usize,
    answers: usize,
    /// The last answer.
    is_member: bool,
    /// The number of contents that were sent to the member, and by each link with a joiner.
    sent_to_member: u32,
    sent_to_joiner: HashMap<u32, u32>,
    /// The last number that each link has delivered, from a joiner and from a member.
    received: HashMap<(u32, bool), u32>,
    ended: Vec<(u32, bool)>,
}

struct Run {
    cluster: Cluster,
    class: Class,
    rng: Rng,
    actors: Vec<Option<Actor>>,
    next_id: u32,
}

impl Run {
    async fn start(class: Class, seed: u64) -> Self {
        let cluster = Cluster::with(NODES, |hub, cluster| {
            // A node that does not know yet that it was declared dead may evict a member. The node of the member drops
            // the notice of it, and learns of the eviction by its next audit.
            (hub.first_connect_timeout(3600 * SECOND), cluster.audit_interval(20 * SECOND))
        })
        .await;
        let mut rng = Rng::with_seed(seed);
        for node in 0..NODES {
            let faults =
                Faults::new(rng.u64(..)).request_delay(millis(0)..=millis(20)).reply_delay(millis(0)..=millis(20));
            cluster.tap(node).engine.set_faults(match class {
                Class::Delays => faults.request_delay(millis(0)..=millis(300)).reply_delay(millis(0)..=millis(300)),
                Class::LostRequests => faults.lost_requests(0.15),
                Class::LostReplies => faults.lost_replies(0.15),
                Class::LateDuplicates => faults.late_duplicates(0.5, millis(0)..=millis(3000)),
                _ => faults,
            });
        }
        let actors = (0..PEERS).map(|_| None).collect();
        Self { cluster, class, rng, actors, next_id: 1 }
    }

    async fn run(mut self) {
        let mut snapshot = self.cluster.engine.snapshot();
        let (mut repair_at, mut stopped) = (None, None);
        for step in 0..STEPS {
            self.step();
            if self.rng.u8(..3) > 0 {
                sleep(millis(self.rng.u64(0..400))).await;
            }
            self.look();
            if repair_at.is_some_and(|at| at <= step) {
                repair_at = None;
                self.repair(stopped.take());
            }
            if self.rng.u8(..12) > 0 || repair_at.is_some() {
                continue;
            }
            let node = self.rng.usize(..self.cluster.nodes.len());
            match self.class {
                Class::LostBatches => {
                    self.cluster.tap(node).lose_sends(true);
                    repair_at = Some(step + 1 + self.rng.usize(..4));
                }
                Class::Outages => {
                    self.cluster.engine.outage(if self.rng.bool() { Outage::Lose } else { Outage::Hang });
                    repair_at = Some(step + self.rng.usize(1..20));
                }
                Class::Wipes => self.cluster.engine.wipe(),
                Class::Rollbacks => {
                    self.cluster.engine.rollback(&snapshot);
                    snapshot = self.cluster.engine.snapshot();
                }
                Class::Pauses => {
                    self.cluster.nodes[node].switch.stop();
                    sleep(self.rng.u32(1..30) * SECOND).await;
                    stopped = Some(node);
                    repair_at = Some(step + 1 + self.rng.usize(..3));
                }
                Class::Crashes if self.cluster.nodes.len() > 1 => self.crash(node).await,
                _ => {}
            }
        }
        self.repair(stopped);
        for node in &self.cluster.nodes {
            node.tap.engine.set_faults(Faults::default());
        }
        sleep(REPAIR).await;
        self.look();
        self.assert_agreement().await;
        let Self { cluster, actors, .. } = self;
        drop(actors);
        sleep(2 * SECOND).await;
        cluster.finish().await;
    }

    fn repair(&self, stopped: Option<usize>) {
        self.cluster.engine.restore();
        self.cluster.nodes.iter().for_each(|node| node.tap.lose_sends(false));
        if let Some(node) = stopped {
            self.cluster.nodes[node].switch.resume();
        }
    }

    async fn crash(&mut self, node: usize) {
        let (gone, kept) = std::mem::take(&mut self.actors).into_iter().flatten().partition(|actor| actor.node == node);
        let (gone, mut kept): (Vec<_>, Vec<_>) = (gone, kept);
        self.cluster.nodes[node].driver.abort();
        gone.iter().for_each(|actor: &Actor| actor.peer.served.abort());
        self.cluster.nodes.remove(node);
        kept.iter_mut().for_each(|actor: &mut Actor| actor.node -= usize::from(actor.node > node));
        self.actors = kept.into_iter().map(Some).chain(std::iter::repeat_with(|| None)).take(PEERS).collect();
    }

    /// Lets a random peer do something.
    fn step(&mut self) {
        let (rng, ids) = (&mut self.rng, self.actors.iter().flatten().map(|actor| actor.id).collect::<Vec<_>>());
        let slot = &mut self.actors[rng.usize(..PEERS)];
        let Some(actor) = slot else {
            let node = rng.usize(..self.cluster.nodes.len());
            let peer = self.cluster.join(node);
            let id = self.next_id;
            self.next_id += 1;
            let (sent_to_joiner, received) = (HashMap::new(), HashMap::new());
            let (connects, answers, is_member, sent_to_member, ended) = (0, 0, false, 0, Vec::new());
            *slot = Some(Actor {
                peer,
                node,
                id,
                connects,
                answers,
                is_member,
                sent_to_member,
                sent_to_joiner,
                received,
                ended,
            });
            return;
        };
        match rng.u8(..20) {
            0 => *slot = None,
            1..=9 => {
                let named: Vec<_> = (0..rng.usize(..3)).map(|_| ids[rng.usize(..ids.len())]).collect();
                actor.connects += 1;
                actor.peer.send_connect(actor.id, &named);
            }
            10..=14 => {
                actor.sent_to_member += 1;
                actor.peer.send_content(0, actor.sent_to_member.to_string());
            }
            _ => {
                let links: Vec<_> =
                    actor.received.keys().filter(|(_, is_joiner)| *is_joiner).map(|(link, _)| *link).collect();
                if let Some(&link) = links.get(rng.usize(..links.len().max(1))) {
                    let sent = actor.sent_to_joiner.entry(link).or_default();
                    *sent += 1;
                    actor.peer.send_content(link, sent.to_string());
                }
            }
        }
    }

    /// Checks what the peers have observed.
    fn look(&mut self) {
        for slot in &mut self.actors {
            let Some(actor) = slot else { continue };
            let mut is_closed = false;
            for seen in actor.peer.take_seen() {
                match &seen {
                    Seen::Answer(member) => {
                        actor.answers += 1;
                        actor.is_member = *member;
                        assert!(actor.answers <= actor.connects, "{} has too many answers", actor.id);
                    }
                    Seen::FromJoiner(link, data) => actor.receive((*link, true), data),
                    Seen::FromMember(link, data) => actor.receive((*link, false), data),
                    Seen::Close(code, _) => {
                        let may_wait_long = matches!(self.class, Class::Outages | Class::Pauses);
                        assert!(seen.to_text() == EVICTED || (*code == 1013 && may_wait_long), "{}", seen.to_text());
                        is_closed = true;
                    }
                    Seen::Lost => panic!("no peer loses its socket"),
                }
            }
            if is_closed {
                *slot = None;
            }
        }
    }

    /// Checks that joiners of all nodes are bound to the members in the same order, and to those peers that have been
    /// told that they are members.
    async fn assert_agreement(&mut self) {
        for actor in self.actors.iter().flatten() {
            assert_eq!(actor.answers, actor.connects, "{} has an answer for each connect", actor.id);
        }
        let members: Vec<_> =
            self.actors.iter().flatten().filter(|actor| actor.is_member).map(|actor| actor.id).collect();
        let mut orders = Vec::new();
        for node in 0..self.cluster.nodes.len() {
            let (joiner, mut order) = (self.cluster.join(node), Vec::new());
            if members.is_empty() {
                assert!(joiner.connect(1000, &[]).await, "the group has no member");
                continue;
            }
            for _ in &members {
                joiner.send_connect(1000, &[]);
                joiner.send_content(0, "probe");
                sleep(millis(100)).await;
                assert_eq!(joiner.take(), ["false"]);
                for actor in self.actors.iter().flatten() {
                    match &*actor.peer.take() {
                        [] => {}
                        [probe] if probe == "joiner: probe" => order.push(actor.id),
                        seen => panic!("expected nothing or a probe, got {seen:?}"),
                    }
                }
            }
            orders.push(order);
            drop(joiner);
            sleep(millis(100)).await;
            for actor in self.actors.iter().flatten() {
                actor.peer.take();
            }
        }
        for order in &orders {
            assert_eq!(order, &orders[0], "all nodes have the same order");
            let (mut sorted, mut expected) = (order.clone(), members.clone());
            sorted.sort_unstable();
            expected.sort_unstable();
            assert_eq!(sorted, expected, "the members are those that were told so");
        }
    }
}

impl Actor {
    /// Checks that a link loses no content, and delivers none twice or after its end.
    fn receive(&mut self, link: (u32, bool), data: &[u8]) {
        assert!(!self.ended.contains(&link), "content after the end of a link");
        if data.is_empty() {
            self.ended.push(link);
            return;
        }
        let number = std::str::from_utf8(data).expect("a number").parse().expect("a number");
        match self.received.insert(link, number) {
            Some(last) => assert_eq!(number, last + 1, "the link of {} loses nothing", self.id),
            None => assert!(link.1 || number == 1, "the link of {} loses nothing", self.id),
        }
    }
}

async fn run(class: Class, seeds: Range<u64>) {
    for seed in seeds {
        let _print = PrintOnPanic(class, seed);
        Run::start(class, seed).await.run().await;
    }
}

/// States which run has failed.
struct PrintOnPanic(Class, u64);

impl Drop for PrintOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the run of class {:?} with seed {} has failed", self.0, self.1);
        }
    }
}

macro_rules! classes {
    ($($name:ident: $class:ident,)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                run(Class::$class, 0..RUNS).await;
            }
        )*

        #[tokio::test(start_paused = true)]
        #[ignore = "20 times as many runs"]
        async fn many_runs_with_faults_keep_the_rules() {
            $(run(Class::$class, RUNS..20 * RUNS).await;)*
        }
    };
}

classes! {
    delays_keep_the_rules: Delays,
    lost_requests_keep_the_rules: LostRequests,
    lost_replies_keep_the_rules: LostReplies,
    late_duplicates_keep_the_rules: LateDuplicates,
    lost_batches_keep_the_rules: LostBatches,
    outages_keep_the_rules: Outages,
    wipes_keep_the_rules: Wipes,
    rollbacks_keep_the_rules: Rollbacks,
    pauses_keep_the_rules: Pauses,
    crashes_keep_the_rules: Crashes,
}
