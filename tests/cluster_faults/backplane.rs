//! The backplane of one node, which observes what the node does.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use sigver::cluster::{
    Backplane, BackplaneError, Beat, Condition, Entry, GroupTag, MemberList, MemoryBackplane, NodeId, Step,
};

/// A connection to the engine that counts steps, and knows the number of its node.
#[derive(Clone)]
pub(crate) struct ObservedBackplane {
    pub(crate) connection: MemoryBackplane,
    observed: Arc<Mutex<Observed>>,
}

#[derive(Default)]
struct Observed {
    node: Option<NodeId>,
    steps: usize,
    step: Option<Step>,
}

impl ObservedBackplane {
    pub(crate) fn new(connection: MemoryBackplane) -> Self {
        Self { connection, observed: Arc::default() }
    }

    /// Returns the present incarnation of the node. `None` before its first beat.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.observed.lock().expect("no panic").node
    }

    /// Returns the number of steps that the node has started since the last call.
    pub(crate) fn take_steps(&self) -> usize {
        std::mem::take(&mut self.observed.lock().expect("no panic").steps)
    }

    /// Returns the entries of a group, read without faults. `None` if the node has never started a step.
    pub(crate) async fn entries(&self, engine: &MemoryBackplane, group: GroupTag) -> Option<Vec<Entry>> {
        let mut step = self.observed.lock().expect("no panic").step.clone()?;
        (step.seen, step.condition) = (None, Condition::Always);
        step.changes.clear();
        let list = engine.step(group, step).await.expect("no fault is active");
        Some(list.entries.expect("the step has seen no version"))
    }
}

#[async_trait]
impl Backplane for ObservedBackplane {
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError> {
        {
            let mut observed = self.observed.lock().expect("no panic");
            observed.steps += 1;
            observed.step.get_or_insert_with(|| step.clone());
        }
        self.connection.step(group, step).await
    }

    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError> {
        self.connection.send(to, batch).await
    }

    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError> {
        self.connection.recv(me).await
    }

    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError> {
        self.observed.lock().expect("no panic").node = Some(me);
        self.connection.beat(me, silent).await
    }
}
