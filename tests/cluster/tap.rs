//! The connection of one node to the engine, with counts and with faults that concern one kind of call.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use sigver::cluster::{Backplane, BackplaneError, Beat, GroupTag, MemberList, MemoryBackplane, NodeId, Step};

/// A [`Backplane`] that passes its calls on. A clone is the same connection.
#[derive(Clone)]
pub(crate) struct Tap {
    pub(crate) engine: MemoryBackplane,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// The number of steps that were sent.
    pub(crate) steps: usize,
    /// Steps fail at once, and the engine never receives them.
    pub(crate) fails_steps: bool,
    /// The number of batches that were sent, lost ones included.
    pub(crate) sends: usize,
    /// Batches disappear after the engine has confirmed them.
    pub(crate) loses_sends: bool,
    /// Sends fail, and the engine never receives them.
    pub(crate) fails_sends: bool,
    /// The number of reads of the inbox.
    pub(crate) recvs: usize,
    /// Reads of the inbox fail at once.
    pub(crate) fails_recvs: bool,
    /// Beats fail, and the engine never receives them.
    pub(crate) fails_beats: bool,
    /// The current incarnation of the node.
    node: Option<NodeId>,
}

impl Tap {
    pub(crate) fn new(engine: MemoryBackplane) -> Self {
        Self { engine, state: Arc::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Returns the current incarnation of the node.
    pub(crate) fn node(&self) -> NodeId {
        self.state().node.expect("the driver runs")
    }

    /// Loses the batches that the node sends from now on, until it is called with `false`.
    pub(crate) fn lose_sends(&self, lost: bool) {
        self.state().loses_sends = lost;
    }
}

#[async_trait]
impl Backplane for Tap {
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError> {
        let fails = {
            let mut state = self.state();
            state.steps += 1;
            state.fails_steps
        };
        if fails {
            return Err(BackplaneError::new("lost"));
        }
        self.engine.step(group, step).await
    }

    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError> {
        let (fails, is_lost) = {
            let mut state = self.state();
            state.sends += 1;
            (state.fails_sends, state.loses_sends)
        };
        match (fails, is_lost) {
            (true, _) => Err(BackplaneError::new("lost")),
            (false, true) => Ok(()),
            (false, false) => self.engine.send(to, batch).await,
        }
    }

    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError> {
        let fails = {
            let mut state = self.state();
            state.node = Some(me);
            state.recvs += 1;
            state.fails_recvs
        };
        if fails {
            return Err(BackplaneError::new("lost"));
        }
        self.engine.recv(me).await
    }

    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError> {
        if self.state().fails_beats {
            return Err(BackplaneError::new("lost"));
        }
        self.engine.beat(me, silent).await
    }
}
