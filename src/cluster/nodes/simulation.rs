//! Runs of several nodes over a model of the engine, with seeded faults.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;

const STEP: Duration = Duration::from_millis(50);
const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time from the start of a beat to its effect, and from there to its reply.
const LATENCY: Duration = Duration::from_millis(100);
/// What a run needs after the last fault: the latest duplicate, a verdict, and beats that tell all nodes.
const SETTLE: Duration = Duration::from_secs(40);

/// The engine's hash of nodes.
#[derive(Default)]
struct Engine {
    nodes: BTreeMap<NodeId, Option<u64>>,
    is_down: bool,
    /// How often the engine was wiped.
    wipes: u32,
}

/// A beat on its way to the engine.
struct Request {
    at: Duration,
    from: usize,
    me: NodeId,
    silent: Vec<(NodeId, u64)>,
    /// `None` for a duplicate, whose reply nothing awaits.
    call: Option<BeatCall>,
}

/// A reply on its way to a node.
struct Reply {
    at: Duration,
    to: usize,
    call: BeatCall,
    beat: Beat,
    wipes: u32,
}

/// One process: a node in one incarnation after the other.
struct Process {
    nodes: Nodes,
    is_crashed: bool,
    paused_until: Duration,
    next_beat: Duration,
    /// How often the engine had been wiped at the last reply.
    wipes: u32,
    /// The verdicts that it may not forget.
    verdicts: BTreeSet<NodeId>,
}

struct Simulation {
    seed: u64,
    rng: Rng,
    now: Duration,
    has_faulty_network: bool,
    engine: Engine,
    processes: Vec<Process>,
    requests: Vec<Request>,
    replies: Vec<Reply>,
    next_id: u64,
    /// The incarnations that were paused or crashed. Others may declare them dead.
    may_be_dead: BTreeSet<NodeId>,
    events: Vec<NodeEvent>,
}

impl Engine {
    fn beat(&mut self, me: NodeId, silent: &[(NodeId, u64)]) -> Beat {
        if let Some(count) = self.nodes.entry(me).or_insert(Some(0)) {
            *count += 1;
        }
        for &(node, highest) in silent {
            if self.nodes.get(&node).is_none_or(|state| state.is_some_and(|count| count <= highest)) {
                self.nodes.insert(node, None);
            }
        }
        Beat { nodes: self.nodes.clone() }
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut simulation = Self {
            seed,
            rng: Rng::with_seed(seed),
            now: Duration::ZERO,
            has_faulty_network: false,
            engine: Engine::default(),
            processes: Vec::new(),
            requests: Vec::new(),
            replies: Vec::new(),
            next_id: 1,
            may_be_dead: BTreeSet::new(),
            events: Vec::new(),
        };
        (0..simulation.rng.usize(2..=5)).for_each(|_| simulation.join());
        simulation
    }

    /// Ids are random numbers in practice. Here, their order says which is newer.
    fn new_id(&mut self) -> NodeId {
        self.next_id += 1;
        NodeId(self.next_id)
    }

    fn join(&mut self) {
        let nodes = Nodes::new(self.new_id(), INTERVAL, TIMEOUT);
        let next_beat = self.now + self.up_to(INTERVAL);
        self.processes.push(Process {
            nodes,
            is_crashed: false,
            paused_until: Duration::ZERO,
            next_beat,
            wipes: self.engine.wipes,
            verdicts: BTreeSet::new(),
        });
    }

    fn crash(&mut self, process: usize) {
        self.processes[process].is_crashed = true;
        self.may_be_dead.insert(self.processes[process].nodes.me());
    }

    fn pause(&mut self, process: usize, time: Duration) {
        self.processes[process].paused_until = self.now + time;
        self.may_be_dead.insert(self.processes[process].nodes.me());
    }

    fn wipe(&mut self) {
        self.engine.nodes.clear();
        self.engine.wipes += 1;
    }

    fn up_to(&mut self, time: Duration) -> Duration {
        STEP * self.rng.u32(0..=(time.as_millis() / STEP.as_millis()) as u32)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn running(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|&process| !self.processes[process].is_crashed).collect()
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        while let Some(due) = self.requests.iter().position(|request| request.at <= self.now) {
            let request = self.requests.swap_remove(due);
            self.execute(request);
        }
        while let Some(due) = self.replies.iter().position(|reply| {
            let process = &self.processes[reply.to];
            reply.at <= self.now && process.paused_until <= self.now && !process.is_crashed
        }) {
            let reply = self.replies.swap_remove(due);
            self.deliver(reply);
        }
        for process in self.running() {
            let state = &self.processes[process];
            if state.paused_until <= self.now && state.next_beat <= self.now {
                self.start_beat(process);
            }
        }
    }

    fn start_beat(&mut self, from: usize) {
        let process = &mut self.processes[from];
        process.next_beat = self.now + INTERVAL;
        let call = process.nodes.start_beat(self.now);
        let (me, silent) = (call.me, call.silent.clone());
        if self.has_faulty_network && self.chance(10) {
            let at = self.now + self.up_to(4 * INTERVAL);
            self.requests.push(Request { at, from, me, silent: silent.clone(), call: None });
        }
        let at = self.now + self.up_to(LATENCY);
        self.requests.push(Request { at, from, me, silent, call: Some(call) });
    }

    fn execute(&mut self, request: Request) {
        if self.engine.is_down {
            return;
        }
        let beat = self.engine.beat(request.me, &request.silent);
        let is_lost = self.has_faulty_network && self.chance(10);
        let is_late = self.has_faulty_network && self.chance(10);
        if let Some(call) = request.call.filter(|_| !is_lost) {
            let at = self.now + self.up_to(if is_late { 4 * INTERVAL } else { LATENCY });
            self.replies.push(Reply { at, to: request.from, call, beat, wipes: self.engine.wipes });
        }
    }

    fn deliver(&mut self, reply: Reply) {
        let process = &mut self.processes[reply.to];
        let is_accepted = reply.call.number == process.nodes.calls;
        let had_beats = process.nodes.count > 10;
        let events = process.nodes.finish_beat(reply.call, &reply.beat);
        if is_accepted && process.wipes != reply.wipes {
            process.wipes = reply.wipes;
            let knows = events.contains(&NodeEvent::EngineLostState) || events.contains(&NodeEvent::DeclaredDead);
            assert!(knows || !had_beats, "seed {}: {} does not know of the wipe", self.seed, reply.to);
        }
        if events.contains(&NodeEvent::DeclaredDead) {
            let me = process.nodes.me();
            assert!(self.may_be_dead.contains(&me), "seed {}: {me:?} was declared dead", self.seed);
            let new = self.new_id();
            self.processes[reply.to].nodes.new_incarnation(new, self.now);
        }
        self.events.extend(events);
        self.check(reply.to);
    }

    /// Checks what holds at any time: a verdict is permanent, and no node that ran all the time has one.
    ///
    /// A node may forget a verdict from before its start: it cannot tell a loss from a removal if the reply to a beat
    /// after the loss did not arrive.
    fn check(&mut self, process: usize) {
        let process = &mut self.processes[process];
        let (me, dead) = (process.nodes.me(), &process.nodes.dead);
        for node in &process.verdicts {
            assert!(dead.contains_key(node), "seed {}: {me:?} forgot that {node:?} is dead", self.seed);
        }
        for node in dead.keys() {
            assert!(self.may_be_dead.contains(node), "seed {}: {me:?} holds {node:?} for dead", self.seed);
        }
        process
            .verdicts
            .extend(dead.iter().filter(|(_, verdict)| verdict.kept_until > self.now).map(|(&node, _)| node));
    }

    /// Checks what holds some time after the last fault: all nodes and the engine agree.
    fn check_agreement(&self) {
        let running: Vec<_> = self.running().iter().map(|&process| &self.processes[process].nodes).collect();
        let alive: BTreeSet<_> = running.iter().map(|nodes| nodes.me()).collect();
        let of_engine = |dead: bool| self.engine.nodes.iter().filter(move |(_, state)| state.is_none() == dead);
        let dead: BTreeSet<_> = of_engine(true).map(|(&node, _)| node).collect();
        assert_eq!(of_engine(false).map(|(&node, _)| node).collect::<BTreeSet<_>>(), alive, "seed {}", self.seed);
        for nodes in running {
            assert_eq!(nodes.dead.keys().copied().collect::<BTreeSet<_>>(), dead, "seed {}", self.seed);
            let others: BTreeSet<_> = nodes.others().chain([nodes.me()]).collect();
            assert_eq!(others, alive, "seed {}", self.seed);
            assert!(nodes.is_ready(self.now), "seed {}", self.seed);
        }
    }
}

#[test]
fn crashed_node_is_dead_for_all_others_within_the_timeout_and_two_beats() {
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed);
        let ahead = Duration::from_secs(5) + simulation.up_to(INTERVAL);
        simulation.run(ahead);
        let crashed = simulation.processes[0].nodes.me();
        simulation.crash(0);
        simulation.run(TIMEOUT + 2 * INTERVAL);
        for process in simulation.running() {
            assert!(simulation.processes[process].nodes.is_dead(crashed), "seed {seed}");
        }
        simulation.check_agreement();
    }
}

#[test]
fn verdict_survives_wipes_even_if_the_dead_node_returns() {
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        simulation.run(5 * INTERVAL);
        let paused = simulation.processes[0].nodes.me();
        simulation.pause(0, Duration::from_secs(30));
        simulation.run(Duration::from_secs(29));
        for _ in 0..3 {
            simulation.wipe();
            let time = simulation.up_to(2 * INTERVAL);
            simulation.run(time);
        }
        simulation.run(SETTLE);
        simulation.check_agreement();
        assert_eq!(simulation.engine.nodes.get(&paused), Some(&None), "seed {seed}");
        assert_ne!(simulation.processes[0].nodes.me(), paused, "seed {seed}");
    }
}

/// The engine works for at least 2.5 s between outages, so that each node beats between them.
#[test]
fn node_that_beats_is_never_declared_dead_and_all_nodes_agree_after_the_faults() {
    let mut seen = [0; 4];
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed);
        simulation.has_faulty_network = true;
        let mut snapshots = vec![BTreeMap::new()];
        for _ in 0..simulation.rng.usize(5..40) {
            let process = *simulation.rng.choice(&simulation.running()).expect("one process runs");
            let mut least_gap = Duration::ZERO;
            match simulation.rng.u32(0..8) {
                0 if simulation.running().len() > 1 => simulation.crash(process),
                1 if simulation.running().len() < 6 => simulation.join(),
                2 | 3 => {
                    let time = simulation.up_to(Duration::from_secs(40));
                    simulation.pause(process, time);
                }
                4 | 5 => {
                    let longest = Duration::from_secs(if simulation.chance(70) { 9 } else { 90 });
                    let time = simulation.up_to(longest);
                    simulation.engine.is_down = true;
                    simulation.run(time);
                    simulation.engine.is_down = false;
                    least_gap = Duration::from_millis(2500);
                    if simulation.chance(30) {
                        simulation.engine.nodes = simulation.rng.choice(&snapshots).expect("one is empty").clone();
                    }
                }
                6 => {
                    simulation.wipe();
                    // A node that was paused during a wipe cannot know of it if a rollback undoes the wipe.
                    snapshots = vec![BTreeMap::new()];
                }
                _ => simulation.engine.nodes = simulation.rng.choice(&snapshots).expect("one is empty").clone(),
            }
            let time = least_gap + simulation.up_to(Duration::from_secs(8));
            simulation.run(time);
            snapshots.push(simulation.engine.nodes.clone());
        }
        simulation.has_faulty_network = false;
        simulation.run(Duration::from_secs(40) + SETTLE);
        simulation.check_agreement();
        for event in &simulation.events {
            seen[match event {
                NodeEvent::DeclaredDead => 0,
                NodeEvent::EngineLostState => 1,
                NodeEvent::EngineReturned => 2,
                NodeEvent::Dead(_) => 3,
            }] += 1;
        }
    }
    assert!(seen.iter().all(|&number| number > 100), "the runs exercise each event: {seen:?}");
}
