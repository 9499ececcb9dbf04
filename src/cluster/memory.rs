//! A backplane in one process, with faults, for tests of several nodes.

pub(in crate::cluster) mod engine;
mod faults;
mod network;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Backplane, BackplaneError, Beat, GroupTag, MemberList, NodeId, Step};
use engine::Engine;
pub use faults::{Faults, Outage, StepFault};
use network::{Call, ConnectionId, Network, Receiving, Reply, Submitted};

/// A [`Backplane`] in one process, for tests of an app with several nodes.
///
/// Give each node a handle: [`connect`](Self::connect) creates a handle for another node, with its own connection to
/// the same engine. [`set_faults`](Self::set_faults), [`fault_next_step`](Self::fault_next_step), [`cut`](Self::cut)
/// and [`heal`](Self::heal) concern the connection of their handle. All other methods concern the engine, whichever
/// handle they are called on. A clone shares the connection.
///
/// Times are those of tokio's clock, so a test can pause it. Under a paused clock, the same seeds and the same calls
/// give the same run. No fault is active by default.
#[derive(Clone, Debug)]
pub struct MemoryBackplane {
    shared: Arc<Shared>,
    connection: ConnectionId,
}

/// The state of an engine at one time. See [`MemoryBackplane::rollback`].
#[derive(Clone, Debug)]
pub struct Snapshot(Engine);

#[derive(Debug)]
struct Shared {
    network: Mutex<Network>,
    /// Notifies all waiting calls of new requests and of commands.
    changed: Notify,
}

impl Default for MemoryBackplane {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackplane {
    /// The number of batches above which an inbox drops the oldest ones.
    const MAX_INBOX_ENTRIES: usize = 10_000;

    /// Creates an engine, and a connection to it without faults.
    pub fn new() -> Self {
        Self::with_faults(Faults::default())
    }

    /// Creates an engine, and a connection to it with these faults.
    pub fn with_faults(faults: Faults) -> Self {
        Self::with_max_inbox_entries(faults, Self::MAX_INBOX_ENTRIES)
    }

    /// Creates an engine whose inboxes drop their oldest batches above a number of batches: 10 000 by default.
    pub fn with_max_inbox_entries(faults: Faults, max_inbox_entries: usize) -> Self {
        let network = Network::new(faults, max_inbox_entries, Instant::now());
        Self { shared: Arc::new(Shared { network: Mutex::new(network), changed: Notify::new() }), connection: 0 }
    }

    /// Creates a handle for another node. It has the faults of this one, with a seed that is drawn from the random
    /// numbers of this one.
    #[must_use]
    pub fn connect(&self) -> Self {
        let connection = self.network().connect(self.connection);
        Self { shared: self.shared.clone(), connection }
    }

    /// Replaces the random faults of this connection. Calls that have started keep theirs.
    pub fn set_faults(&self, faults: Faults) {
        self.network().set_faults(self.connection, faults);
    }

    /// Adds a fault for the next step on this connection, in addition to the random ones. Several faults concern
    /// successive steps.
    pub fn fault_next_step(&self, fault: StepFault) {
        self.network().add_step_fault(self.connection, fault);
    }

    /// Disconnects this node from the engine, until [`heal`](Self::heal).
    pub fn cut(&self, outage: Outage) {
        self.command(|network, now| network.set_cut(self.connection, Some(outage), now));
    }

    /// Ends a [`cut`](Self::cut).
    pub fn heal(&self) {
        self.command(|network, now| network.set_cut(self.connection, None, now));
    }

    /// Makes the engine unreachable for all nodes, until [`restore`](Self::restore).
    pub fn outage(&self, outage: Outage) {
        self.command(|network, now| network.set_outage(Some(outage), now));
    }

    /// Ends an [`outage`](Self::outage).
    pub fn restore(&self) {
        self.command(|network, now| network.set_outage(None, now));
    }

    /// Returns the state of the engine: what a replica has that receives no more changes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.network().engine().clone())
    }

    /// Returns the engine to an earlier state, as a failover to a replica does that missed the last changes. Its clock
    /// does not go back: see [`turn_clock_back`](Self::turn_clock_back).
    pub fn rollback(&self, snapshot: &Snapshot) {
        self.command(|network, _| network.engine().clone_from(&snapshot.0));
    }

    /// Deletes everything in the engine, as a restart without persistence does.
    pub fn wipe(&self) {
        self.command(|network, _| network.engine().wipe());
    }

    /// Turns the engine's clock back, as a failover to an engine whose clock is behind does.
    pub fn turn_clock_back(&self, by: Duration) {
        self.command(|network, _| network.turn_clock_back(by));
    }

    /// Drops the oldest batches in the inbox of a node, read or not, so that at most `kept` remain.
    pub fn trim_inbox(&self, node: NodeId, kept: usize) {
        self.command(|network, _| network.engine().trim_inbox(node, kept));
    }

    /// Deletes the inbox of a node.
    pub fn wipe_inbox(&self, node: NodeId) {
        self.command(|network, _| network.engine().wipe_inbox(node));
    }

    /// Returns the number of member lists in the engine.
    pub fn list_count(&self) -> usize {
        self.network().key_counts(Instant::now()).0
    }

    /// Returns the number of inboxes in the engine.
    pub fn inbox_count(&self) -> usize {
        self.network().key_counts(Instant::now()).1
    }

    /// Locks the network, after it has applied the requests that reached the engine by now.
    fn network(&self) -> MutexGuard<'_, Network> {
        let mut network = self.shared.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.run(Instant::now());
        network
    }

    fn command(&self, command: impl FnOnce(&mut Network, Instant)) {
        command(&mut self.network(), Instant::now());
        self.shared.changed.notify_waiters();
    }

    /// Sends a request and waits for the reply.
    async fn call(&self, call: Call) -> Result<Reply, BackplaneError> {
        let started = Instant::now();
        let Submitted { plan, arrives_at, reply } = self.network().submit(self.connection, call, started);
        self.shared.changed.notify_waiters();
        let timeout = || time_out(started + plan.timeout, plan.timeout);
        if plan.fails() {
            return Err(timeout().await);
        }
        if arrives_at > started {
            sleep_until(arrives_at).await;
            // Applies the request.
            drop(self.network());
        }
        let Ok((applied_at, reply)) = reply.await else { return Err(timeout().await) };
        if applied_at + plan.reply_delay > Instant::now() {
            sleep_until(applied_at + plan.reply_delay).await;
        }
        loop {
            let changed = self.shared.changed.notified();
            let blocked_by = self.network().blocked_by(self.connection);
            match blocked_by {
                None => return Ok(reply),
                Some(Outage::Lose) => return Err(timeout().await),
                Some(Outage::Hang) => changed.await,
            }
        }
    }
}

#[async_trait]
impl Backplane for MemoryBackplane {
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError> {
        match self.call(Call::Step(group, step)).await? {
            Reply::List(list) => Ok(list),
            other => unreachable!("the reply to a step is a list, not {other:?}"),
        }
    }

    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError> {
        self.call(Call::Send(to, batch)).await.map(|_| ())
    }

    /// Of two calls for one node that wait at the same time, one gets each batch.
    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError> {
        let plan = self.network().plan_receive(self.connection);
        if plan.fails() {
            return Err(time_out(Instant::now() + plan.timeout, plan.timeout).await);
        }
        if !plan.request_delay.is_zero() {
            sleep(plan.request_delay).await;
        }
        let mut arrives_at = None;
        loop {
            let changed = pin!(self.shared.changed.notified());
            let now = Instant::now();
            let receiving = self.network().receive(self.connection, me, &plan, &mut arrives_at, now);
            match receiving {
                Receiving::Done(batches) => return Ok(batches),
                Receiving::Lost => return Err(time_out(now + plan.timeout, plan.timeout).await),
                Receiving::WaitUntil(None) => changed.await,
                Receiving::WaitUntil(Some(time)) => {
                    future::select(changed, pin!(sleep_until(time))).await;
                }
            }
        }
    }

    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError> {
        match self.call(Call::Beat(me, silent.to_vec())).await? {
            Reply::Beat(beat) => Ok(beat),
            other => unreachable!("the reply to a beat is a beat, not {other:?}"),
        }
    }
}

/// Waits until a call fails, and returns its error.
async fn time_out(at: Instant, timeout: Duration) -> BackplaneError {
    sleep_until(at).await;
    BackplaneError::new(format!("no reply from the engine within {timeout:?}"))
}
