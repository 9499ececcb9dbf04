//! The engine with the connections to it: requests that are under way, outages and cuts.
//!
//! A request is stored with the time at which it reaches the engine. Each access first applies the requests that have
//! arrived by then, in the order of their arrival and with its time. So a request is applied even if its caller stopped
//! waiting, as on a real network, and no task is needed.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::engine::{BatchId, Engine};
use super::faults::{Connection, Faults, Outage, Plan, StepFault};
use crate::cluster::{Beat, GroupTag, MemberList, NodeId, Step};

/// The index of a connection.
pub(super) type ConnectionId = usize;

#[derive(Debug)]
pub(super) struct Network {
    engine: Engine,
    clock: Clock,
    connections: Vec<Connection>,
    outage: Option<Outage>,
    /// The requests that have not reached the engine, by time of arrival and number.
    under_way: BTreeMap<(Instant, u64), Request>,
    /// The requests that an outage or a cut holds back.
    held: Vec<Request>,
    submitted: u64,
    /// The last batch that each node has read. An engine that is wiped or rolled back does not change it.
    cursors: HashMap<NodeId, BatchId>,
}

/// The engine's clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Instant,
    /// The time at `started`, since the Unix epoch.
    unix: Duration,
}

#[derive(Debug)]
struct Request {
    from: ConnectionId,
    call: Call,
    /// Receives when the engine applied the request, and its reply. `None` for a duplicate.
    caller: Option<oneshot::Sender<(Instant, Reply)>>,
}

#[derive(Clone, Debug)]
pub(super) enum Call {
    Step(GroupTag, Step),
    Send(NodeId, Bytes),
    Beat(NodeId, Vec<(NodeId, u64)>),
}

#[derive(Debug)]
pub(super) enum Reply {
    List(MemberList),
    Sent,
    Beat(Beat),
}

/// A call whose request is under way.
pub(super) struct Submitted {
    pub(super) plan: Plan,
    pub(super) arrives_at: Instant,
    pub(super) reply: oneshot::Receiver<(Instant, Reply)>,
}

/// The state of a call that waits for batches.
pub(super) enum Receiving {
    Done(Vec<Bytes>),
    /// The caller receives an error after the timeout.
    Lost,
    /// Nothing happens before this time, unless the network changes.
    WaitUntil(Option<Instant>),
}

/// 2026-01-01T00:00:00Z.
const START: Duration = Duration::from_secs(1_767_225_600);

impl Network {
    pub(super) fn new(faults: Faults, max_inbox_entries: usize, now: Instant) -> Self {
        Self {
            engine: Engine::new(max_inbox_entries),
            clock: Clock { started: now, unix: START },
            connections: vec![Connection::new(faults)],
            outage: None,
            under_way: BTreeMap::new(),
            held: Vec::new(),
            submitted: 0,
            cursors: HashMap::new(),
        }
    }

    pub(super) fn connect(&mut self, from: ConnectionId) -> ConnectionId {
        let connection = self.connections[from].fork();
        self.connections.push(connection);
        self.connections.len() - 1
    }

    /// Sends a request to the engine.
    pub(super) fn submit(&mut self, from: ConnectionId, call: Call, now: Instant) -> Submitted {
        let connection = &mut self.connections[from];
        let plan = if let Call::Step(..) = call { connection.plan_step() } else { connection.plan() };
        let arrives_at = now + plan.request_delay;
        let (caller, reply) = oneshot::channel();
        if let (Call::Send(..), Some(after)) = (&call, plan.duplicate_after) {
            self.insert(arrives_at + after, Request { from, call: call.clone(), caller: None });
        }
        if !plan.request_lost {
            self.insert(arrives_at, Request { from, call, caller: Some(caller) });
        }
        self.run(now);
        Submitted { plan, arrives_at, reply }
    }

    /// Applies the requests that have reached the engine by now.
    pub(super) fn run(&mut self, now: Instant) {
        while let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= now) {
            let ((arrived_at, _), request) = first.remove_entry();
            match self.blocked_by(request.from) {
                None => self.apply(request, arrived_at),
                Some(Outage::Hang) => self.held.push(request),
                // The caller learns it from the sender that is dropped.
                Some(Outage::Lose) => {}
            }
        }
    }

    fn apply(&mut self, request: Request, arrived_at: Instant) {
        let now = self.clock.at(arrived_at);
        let reply = match request.call {
            Call::Step(group, step) => Reply::List(self.engine.step(group, &step, now)),
            Call::Send(to, batch) => {
                self.engine.append(to, batch, now);
                Reply::Sent
            }
            Call::Beat(me, silent) => Reply::Beat(self.engine.beat(me, &silent, now)),
        };
        if let Some(caller) = request.caller {
            // A caller that stopped waiting needs no reply.
            let _ = caller.send((arrived_at, reply));
        }
    }

    fn insert(&mut self, arrives_at: Instant, request: Request) {
        self.submitted += 1;
        self.under_way.insert((arrives_at, self.submitted), request);
    }

    /// Decides what happens to the next call that waits for batches.
    pub(super) fn plan_receive(&mut self, from: ConnectionId) -> Plan {
        self.connections[from].plan()
    }

    /// Returns unread batches if the reply with them has arrived. `arrives_at` is the time at which it does: the first
    /// call that finds batches sets it.
    pub(super) fn receive(
        &mut self,
        from: ConnectionId,
        me: NodeId,
        plan: &Plan,
        arrives_at: &mut Option<Instant>,
        now: Instant,
    ) -> Receiving {
        let next_request = self.under_way.first_key_value().map(|((arrives_at, _), _)| *arrives_at);
        match self.blocked_by(from) {
            Some(Outage::Lose) => return Receiving::Lost,
            Some(Outage::Hang) => return Receiving::WaitUntil(next_request),
            None => {}
        }
        let (batches, cursor) = self.engine.read(me, self.cursors.get(&me).copied(), self.clock.at(now));
        if batches.is_empty() {
            *arrives_at = None;
            return Receiving::WaitUntil(next_request);
        }
        let arrives_at = *arrives_at.get_or_insert(now + plan.reply_delay);
        if arrives_at > now {
            return Receiving::WaitUntil(Some(next_request.map_or(arrives_at, |next| next.min(arrives_at))));
        }
        self.cursors.extend(cursor.map(|cursor| (me, cursor)));
        Receiving::Done(batches)
    }

    /// Returns how a connection fails at the moment.
    pub(super) fn blocked_by(&self, from: ConnectionId) -> Option<Outage> {
        let cut = self.connections[from].cut;
        // What one of them loses, the other does not hold.
        [self.outage, cut].into_iter().flatten().min_by_key(|outage| *outage == Outage::Hang)
    }

    pub(super) fn set_outage(&mut self, outage: Option<Outage>, now: Instant) {
        self.outage = outage;
        self.release(now);
    }

    pub(super) fn set_cut(&mut self, from: ConnectionId, cut: Option<Outage>, now: Instant) {
        self.connections[from].cut = cut;
        self.release(now);
    }

    /// Lets the requests that were held back reach the engine, unless something else holds them.
    fn release(&mut self, now: Instant) {
        for request in mem::take(&mut self.held) {
            self.insert(now, request);
        }
        self.run(now);
    }

    pub(super) fn set_faults(&mut self, from: ConnectionId, faults: Faults) {
        self.connections[from].set_faults(faults);
    }

    pub(super) fn add_step_fault(&mut self, from: ConnectionId, fault: StepFault) {
        self.connections[from].add_step_fault(fault);
    }

    pub(super) fn turn_clock_back(&mut self, by: Duration) {
        self.clock.unix = self.clock.unix.saturating_sub(by);
    }

    pub(super) fn key_counts(&mut self, now: Instant) -> (usize, usize) {
        self.engine.key_counts(self.clock.at(now))
    }

    pub(super) fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl Clock {
    fn at(self, instant: Instant) -> Duration {
        self.unix + instant.saturating_duration_since(self.started)
    }
}
