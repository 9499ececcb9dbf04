//! A run of random peers on three nodes, with faults, and what must be true after the faults have ended.

use std::env;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::{Cluster, NODES};
use crate::fault::{Class, Fault, Schedule};
use crate::links::Links;
use crate::participant::Participant;
use crate::script::{Action, Script, To};

/// The number of peers of a group that are connected at one time, before the peers that join after the faults.
const MAX_CONNECTED: usize = 7;

/// The time after the faults in which nearly everything is repaired. An audit after an outage takes 30 s.
const REPAIR_TIME: Duration = Duration::from_secs(20);

/// The time in which little else may go on than audits.
const QUIET_TIME: Duration = Duration::from_secs(20);

/// The keys of the groups. Most runs have one group.
const KEYS: [&str; 2] = ["first", "second"];

struct Run {
    class: Class,
    cluster: Cluster,
    participants: Vec<Participant>,
    groups: usize,
    started: Instant,
    /// Prints what happens.
    is_traced: bool,
}

/// Runs random peers and faults of a class. Returns the number of live links after the faults.
pub(crate) async fn run(class: Class, seed: u64) -> usize {
    let (mut script, mut random) = (Script::new(seed), Rng::with_seed(!seed));
    let schedule = Schedule::new(class, NODES, &mut random);
    let mut run = Run {
        class,
        cluster: Cluster::start(class),
        participants: Vec::new(),
        groups: if seed.is_multiple_of(5) { 2 } else { 1 },
        started: Instant::now(),
        is_traced: env::var_os("CLUSTER_SEED").is_some(),
    };
    run.act_during(schedule, &mut script).await;
    run.cluster.end_faults();
    run.wait(REPAIR_TIME).await;
    run.check_quiet().await;
    let live = run.check_peers().await;
    for group in 0..run.groups {
        run.check_new_peers(group).await;
    }
    for participant in &mut run.participants {
        participant.peer.leave(script.random.bool());
    }
    run.trace(|| "all peers leave".into());
    run.wait(QUIET_TIME + Duration::from_secs(5)).await;
    run.expect(run.cluster.check_empty());
    run.cluster.check_shutdown().await.unwrap_or_else(|error| panic!("{error}"));
    live
}

impl Run {
    /// Lets random peers act while faults happen.
    async fn act_during(&mut self, schedule: Schedule, script: &mut Script) {
        let mut faults = schedule.faults.into_iter().peekable();
        loop {
            let gap = if script.random.bool() { 0..20 } else { 20..600 };
            let next = Instant::now() + Duration::from_millis(script.random.u64(gap));
            while let Some((_, fault)) = faults.next_if(|(at, _)| self.started + *at <= next) {
                self.apply(fault).await;
            }
            sleep_until(next).await;
            self.receive();
            if next >= self.started + schedule.end {
                return;
            }
            self.act(script);
        }
    }

    async fn apply(&mut self, fault: Fault) {
        self.trace(|| format!("{fault:?}"));
        if let Some(crashed) = self.cluster.apply(fault) {
            for participant in &mut self.participants {
                participant.has_crashed |= participant.node == crashed;
            }
            // Drops the futures of the node before a peer sends to them.
            sleep(Duration::from_millis(1)).await;
            self.receive();
        }
    }

    fn act(&mut self, script: &mut Script) {
        let group = script.random.usize(0..self.groups);
        let is_connected = |peer: &&Participant| peer.group == group && peer.peer.is_connected();
        let connected = self.participants.iter().filter(is_connected).count();
        let (nth, action) = script.next(connected, MAX_CONNECTED);
        if let Action::Join { node, favored } = action {
            let node = node % NODES;
            self.trace(|| format!("peer {} joins group {group} on node {node}", self.participants.len()));
            return self.join(node, group, favored);
        }
        let mut connected = self.participants.iter_mut().enumerate().filter(|(_, peer)| is_connected(&&**peer));
        let (me, participant) = connected.nth(nth).expect("the script has the number of connected peers");
        match &action {
            Action::Join { .. } => unreachable!("it was handled above"),
            // Netflux waits for the answer. One further request tests that its order is kept.
            Action::Connect { .. } if participant.answers().count() + 2 <= participant.connects.len() => return,
            Action::Connect { id, named } => participant.connect(*id, named),
            Action::Content { to, last } => match *to {
                To::Member => participant.send_to_member(me, None, *last),
                To::MemberId(id) => participant.send_to_member(me, Some(id), false),
                To::Joiner(nth) => {
                    let links = participant.peer.joiner_links();
                    let Some(&link) = links.iter().rev().nth(nth) else { return };
                    participant.send_to_joiner(me, link, *last);
                }
            },
            Action::Leave { with_close_frame } => participant.peer.leave(*with_close_frame),
        }
        self.trace(|| format!("peer {me}: {action:?}"));
    }

    fn join(&mut self, node: usize, group: usize, favored: bool) {
        let peer = self.cluster.nodes[node].join(KEYS[group], favored);
        self.participants.push(Participant::new(peer, node, group));
    }

    /// Waits for the last repairs, and checks that little else goes on in the cluster than audits.
    async fn check_quiet(&mut self) {
        self.cluster.nodes.iter().for_each(|node| _ = node.backplane.take_steps());
        self.wait(QUIET_TIME).await;
        for (nth, node) in self.cluster.nodes.iter().enumerate() {
            let steps = node.backplane.take_steps();
            self.expect(if steps <= 5 * self.groups { Ok(()) } else { Err(format!("node {nth} makes {steps} steps")) });
            self.expect(if node.hub.is_ready() { Ok(()) } else { Err(format!("node {nth} is not ready")) });
        }
    }

    /// Checks what all peers have received. Sends content along all links before. Returns the number of live links.
    async fn check_peers(&mut self) -> usize {
        for group in &KEYS[..self.groups] {
            let checked = self.cluster.check_group(group).await;
            self.expect(checked);
        }
        self.trace(|| "each joiner sends content".into());
        for (me, participant) in self.participants.iter_mut().enumerate() {
            participant.send_to_member(me, None, false);
        }
        self.wait(Duration::from_secs(1)).await;
        self.trace(|| "each member sends content".into());
        for (me, participant) in self.participants.iter_mut().enumerate() {
            for link in participant.peer.joiner_links() {
                participant.send_to_joiner(me, link, false);
            }
        }
        self.wait(Duration::from_secs(1)).await;
        for (me, participant) in self.participants.iter().enumerate() {
            if !self.class.pauses_connections() {
                self.expect(participant.check_answer_times().map_err(|error| format!("peer {me}: {error}")));
            }
            self.expect(participant.check_answers_and_close().map_err(|error| format!("peer {me}: {error}")));
            if let Some(at) = participant.evicted_at().filter(|_| !self.class.loses_members()) {
                let mut others = self.participants.iter().enumerate().filter(|(other, _)| *other != me);
                let is_evicted =
                    others.any(|(_, other)| other.group == participant.group && other.can_have_evicted(at));
                self.expect(if is_evicted { Ok(()) } else { Err(format!("peer {me}: no peer can have evicted it")) });
            }
        }
        let links = self.expect(Links::new(&self.participants));
        if self.class.keeps_links() {
            self.expect(links.check_ends(&self.participants));
        }
        self.expect(links.check(&self.participants))
    }

    /// Checks that a new peer on each node becomes the first member, or meets a member that answers. A peer that is
    /// bound to the entry of a peer that has left connects again, and the entry disappears.
    async fn check_new_peers(&mut self, group: usize) {
        let checked = self.cluster.check_group(KEYS[group]).await;
        let (mut strays, mut had_members) = (self.expect(checked), self.cluster.has_members(KEYS[group]).await);
        if !self.class.returns_entries() {
            self.expect(if strays == 0 { Ok(()) } else { Err(format!("{strays} entries of peers that have left")) });
        }
        for node in 0..NODES {
            let me = self.participants.len();
            self.trace(|| format!("new peer {me} joins group {group} on node {node}"));
            self.join(node, group, false);
            while !self.meets(me, had_members).await {
                self.expect(strays.checked_sub(1).ok_or_else(|| format!("new peer {me} meets no member")));
                strays -= 1;
            }
            had_members = true;
        }
    }

    /// Lets a new peer connect. Returns whether it has become the first member, or has met one.
    async fn meets(&mut self, me: usize, had_members: bool) -> bool {
        self.participants[me].connect(900 + me as u32, &[]);
        self.wait(Duration::from_millis(500)).await;
        self.participants[me].send_to_member(me, None, false);
        self.wait(Duration::from_millis(500)).await;
        for (other, participant) in self.participants.iter_mut().enumerate() {
            if let Some(&link) = participant.peer.joiner_links().last() {
                participant.send_to_joiner(other, link, false);
            }
        }
        self.wait(Duration::from_millis(500)).await;
        let answers: Vec<_> = self.participants[me].answers().collect();
        let links = self.expect(Links::new(&self.participants));
        self.expect(links.check(&self.participants));
        match answers.last() {
            None => false,
            Some(true) => !had_members || answers.len() > 1,
            Some(false) => links.is_answered(me, answers.len() - 1),
        }
    }

    /// Lets time pass while all peers answer heartbeats.
    async fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + Duration::from_secs(1))).await;
            self.receive();
        }
    }

    fn receive(&mut self) {
        for (nth, participant) in self.participants.iter_mut().enumerate() {
            let known = participant.peer.seen.len();
            participant.peer.receive();
            if self.is_traced {
                let at = self.started.elapsed();
                participant.peer.seen[known..]
                    .iter()
                    .for_each(|(_, seen)| eprintln!("{at:?}     peer {nth} <- {seen:?}"));
            }
        }
    }

    fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:?} {}", self.started.elapsed(), line());
        }
    }

    /// Returns the value, or fails the test.
    fn expect<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|error| panic!("{:?}: {error}", self.class))
    }
}
