//! Peers observe the same in a cluster as on one node without a cluster.

use super::*;
use crate::protocol::{Action, CloseCode, Group};

/// One node without a cluster.
#[derive(Default)]
struct Oracle {
    group: Group,
    seen: Transcripts,
    released: Vec<LinkId>,
}

impl Oracle {
    fn handle(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.group.handle(event, &mut actions);
        for action in actions {
            match action {
                Action::Send { to, message } => self.seen.entry(to).or_default().push(Seen::Message(message)),
                Action::Close { peer, code } => {
                    assert_eq!(code, CloseCode::BlockingMember, "a group of one node closes only evicted members");
                    self.seen.entry(peer).or_default().push(Seen::Closed(CloseCause::Evicted));
                }
                Action::ReleaseLink(link) => self.released.push(link),
            }
        }
    }
}

/// Runs a script on one node without a cluster and on a cluster, and compares what each peer observes.
fn compare(seed: u64, nodes: u64, events: usize) {
    let (mut oracle, mut cluster, mut script) = (Oracle::default(), Cluster::new(nodes), Script::new(seed));
    for nth in 0..events {
        let event = script.next();
        oracle.handle(event.clone());
        cluster.handle(event.clone());
        assert_eq!(cluster.seen, oracle.seen, "seed {seed}, {nodes} nodes, event {nth}: {event:?}");
        // A closed peer leaves.
        for peer in std::mem::take(&mut cluster.closing) {
            script.joined.retain(|&joined| joined != peer);
            oracle.handle(Event::Leave { peer });
            cluster.handle(Event::Leave { peer });
            assert_eq!(cluster.seen, oracle.seen, "seed {seed}, {nodes} nodes, after event {nth}: {peer:?} left");
        }
    }
    for peer in std::mem::take(&mut script.joined) {
        oracle.handle(Event::Leave { peer });
        cluster.handle(Event::Leave { peer });
    }
    assert_eq!(cluster.seen, oracle.seen, "seed {seed}, {nodes} nodes, after all peers left");
    for released in [&mut cluster.released, &mut oracle.released] {
        released.sort_unstable();
    }
    assert_eq!(cluster.released, oracle.released, "seed {seed}: each link id is released once");
    assert_eq!(cluster.engine.key_counts(Duration::ZERO), (0, 0), "seed {seed}: no entry remains");
    assert!(cluster.nodes.iter().all(ClusterGroup::is_idle), "seed {seed}: no node keeps anything");
}

#[test]
fn peers_observe_the_same_on_one_node_and_on_three() {
    for seed in 0..2000 {
        compare(seed, 1 + seed % 3, 60);
    }
}
