//! Random orders of all deliveries, with calls to the engine that fail.

use super::*;

/// A step between a node and the engine.
#[derive(Debug)]
enum Call {
    Requested(Step),
    Replied(MemberList),
}

/// A run in which the order of all deliveries is random, and calls to the engine fail.
struct FaultRun {
    cluster: Cluster,
    script: Script,
    calls: Vec<Option<Call>>,
    /// Requests whose caller has given up, and that the engine may still receive.
    late: Vec<Step>,
    connects: BTreeMap<PeerId, usize>,
    left: Vec<PeerId>,
    faults: bool,
}

impl FaultRun {
    fn new(seed: u64, nodes: u64) -> Self {
        let (cluster, script) = (Cluster::new(nodes), Script::new(seed));
        let calls = (0..nodes).map(|_| None).collect();
        let (late, connects, left) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { cluster, script, calls, late, connects, left, faults: true }
    }

    fn answers(&self, peer: PeerId) -> usize {
        let seen = self.cluster.seen.get(&peer).into_iter().flatten();
        seen.filter(|seen| matches!(seen, Seen::Message(Message::Connected(_)))).count()
    }

    fn is_closed(&self, peer: PeerId) -> bool {
        self.cluster.seen.get(&peer).is_some_and(|seen| seen.iter().any(|seen| matches!(seen, Seen::Closed(_))))
    }

    /// Lets a peer do something, unless its connect is not answered yet: the hub reads no frame then.
    fn act(&mut self) {
        let event = self.script.next();
        match event {
            Event::Connect { peer, .. } if self.connects.get(&peer).copied().unwrap_or(0) > self.answers(peer) => {
                return;
            }
            Event::Content { peer, .. } if self.connects.get(&peer).copied().unwrap_or(0) > self.answers(peer) => {
                return;
            }
            Event::Connect { peer, .. } => *self.connects.entry(peer).or_default() += 1,
            Event::Leave { peer } => self.left.push(peer),
            _ => {}
        }
        self.cluster.start(event);
        self.leave_closed();
    }

    fn leave_closed(&mut self) {
        for peer in std::mem::take(&mut self.cluster.closing) {
            if self.left.contains(&peer) {
                continue;
            }
            self.script.joined.retain(|&joined| joined != peer);
            self.left.push(peer);
            self.cluster.start(Event::Leave { peer });
        }
    }

    /// Delivers something, or loses it. Returns whether anything was in flight.
    fn deliver(&mut self, choice: usize) -> bool {
        if self.faults && !self.late.is_empty() && choice.is_multiple_of(7) {
            let step = self.late.swap_remove(choice % self.late.len());
            self.cluster.engine.step(tag(), &step, Duration::ZERO);
            return true;
        }
        let nodes = self.calls.len();
        for node in (0..nodes).map(|nth| (nth + choice) % nodes) {
            if self.calls[node].is_none() {
                self.calls[node] = self.cluster.next_step(node).map(Call::Requested);
            }
        }
        let pairs: Vec<_> =
            self.cluster.records.iter().filter(|(_, queue)| !queue.is_empty()).map(|(&pair, _)| pair).collect();
        let busy: Vec<_> = (0..nodes).filter(|&node| self.calls[node].is_some()).collect();
        if pairs.is_empty() && busy.is_empty() {
            return false;
        }
        let nth = choice % (pairs.len() + busy.len());
        if let Some(&(from, to)) = pairs.get(nth) {
            self.cluster.deliver(from, to);
        } else {
            self.advance(busy[nth - pairs.len()]);
        }
        self.leave_closed();
        true
    }

    fn advance(&mut self, node: usize) {
        let fails = self.faults && self.script.random.u8(0..5) == 0;
        match self.calls[node].take() {
            Some(Call::Requested(step)) if fails => {
                if self.script.random.bool() {
                    self.late.push(step);
                }
                self.cluster.reply(node, Err(OutcomeUnknown));
            }
            Some(Call::Requested(step)) => {
                self.calls[node] = Some(Call::Replied(self.cluster.engine.step(tag(), &step, Duration::ZERO)));
            }
            Some(Call::Replied(_)) if fails => self.cluster.reply(node, Err(OutcomeUnknown)),
            Some(Call::Replied(list)) => self.cluster.reply(node, Ok(list)),
            None => {}
        }
    }

    fn settle(&mut self) {
        self.faults = false;
        while !self.late.is_empty() {
            let step = self.late.swap_remove(0);
            self.cluster.engine.step(tag(), &step, Duration::ZERO);
        }
        for round in 0.. {
            // An audit finds what late requests have left behind.
            if round < 2 {
                self.cluster.nodes.iter_mut().for_each(ClusterGroup::look);
            }
            let mut choice = 0;
            let mut delivered = false;
            while self.deliver(choice) {
                (choice, delivered) = (choice + 1, true);
                assert!(choice < 100_000, "the nodes never settle");
            }
            if !delivered && round >= 2 {
                return;
            }
        }
    }
}

fn run_with_faults(seed: u64, nodes: u64) {
    let mut run = FaultRun::new(seed, nodes);
    for _ in 0..300 {
        let choice = run.script.random.usize(..);
        if run.script.random.u8(0..4) == 0 {
            run.act();
        } else {
            run.deliver(choice);
        }
    }
    run.settle();
    let about = format!("seed {seed}, {nodes} nodes");
    for (&peer, &connects) in &run.connects {
        let answers = run.answers(peer);
        let ended = run.left.contains(&peer) || run.is_closed(peer);
        assert!(
            answers == connects || (ended && answers + 1 == connects),
            "{about}: {peer:?} got {answers} of {connects}"
        );
    }
    for (peer, seen) in &run.cluster.seen {
        let after_close = seen.iter().skip_while(|seen| !matches!(seen, Seen::Closed(_))).skip(1);
        let mut wrong = after_close.filter(|seen| !matches!(seen, Seen::Message(Message::Content { .. })));
        assert_eq!(wrong.next(), None, "{about}: {peer:?} after its close");
    }
    run.cluster.assert_consistent(&about);
    for peer in std::mem::take(&mut run.script.joined) {
        run.left.push(peer);
        run.cluster.start(Event::Leave { peer });
    }
    run.settle();
    assert_eq!(run.cluster.engine.key_counts(Duration::ZERO), (0, 0), "{about}: no entry remains");
    assert!(run.cluster.nodes.iter().all(ClusterGroup::is_idle), "{about}: no node keeps anything");
}

#[test]
fn each_connect_gets_one_answer_or_a_close_whatever_is_lost() {
    for seed in 0..2000 {
        run_with_faults(seed, 1 + seed % 3);
    }
}
