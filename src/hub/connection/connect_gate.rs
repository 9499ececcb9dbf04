//! Holds back the frames of a peer while its `connect` waits for other nodes.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::peer_guard::PeerGuard;
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::token_bucket::TokenBucket;
use crate::hub::shared::Shared;
use crate::protocol::CloseCode;

/// The number of `connect` messages of one peer that other nodes decide in one second, and the burst.
///
/// Netflux repeats `connect` in a tight loop when a member denies it, and each repetition costs the engine a step. A
/// `connect` above this rate waits unread, and is not rejected.
const STEPS_PER_SECOND: u32 = 20;

/// The time until a bucket without tokens has one.
const TOKEN_INTERVAL: Duration = Duration::from_millis(1000 / STEPS_PER_SECOND as u64);

/// Decides whether the frames of a peer may be read, in a hub that is a node of a cluster.
///
/// A closed gate keeps the order of a peer's requests: none of them is applied before the answer to its `connect`. The
/// transport applies back-pressure meanwhile.
#[derive(Debug, Default)]
pub(super) struct ConnectGate {
    /// Allocated for the first `connect` that waits, so that a hub without a cluster does not pay for it.
    state: Option<Box<State>>,
}

#[derive(Debug)]
struct State {
    steps: TokenBucket,
    closed: Option<Closed>,
    timer: Pin<Box<Sleep>>,
}

/// Why the gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// A `connect` waits for its answer. The peer is closed when the timer ends.
    Deciding,
    /// The peer has sent `connect` too often. Its frames are read when the timer ends.
    Pausing,
}

impl ConnectGate {
    /// Returns whether no frame may be read.
    pub(super) fn is_closed(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.closed.is_some())
    }

    /// Closes the gate after a `connect` if it waits for its answer.
    pub(super) fn close(&mut self, guard: &PeerGuard, shared: &Shared) {
        let Some(timeout) = shared.connect_answer_timeout().filter(|_| guard.awaits_answer()) else { return };
        let deadline = Instant::now() + timeout;
        let new =
            || Box::new(State { steps: TokenBucket::default(), closed: None, timer: Box::pin(sleep_until(deadline)) });
        let state = self.state.get_or_insert_with(new);
        let is_taken = state.take_token(shared);
        debug_assert!(is_taken, "the gate was open, so the bucket had a token");
        state.closed = Some(Closed::Deciding);
        state.timer.as_mut().reset(deadline);
    }

    /// Opens the gate if the `connect` was answered or the pause is over. Returns whether it is open.
    ///
    /// Fails if the answer took longer than `connect_answer_timeout`.
    pub(super) fn poll_open(
        &mut self,
        guard: &PeerGuard,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Result<bool, Close> {
        let Some(state) = &mut self.state else { return Ok(true) };
        if state.closed == Some(Closed::Deciding) && !guard.awaits_answer() {
            state.pause_or_open(shared);
        }
        loop {
            let Some(closed) = state.closed else { return Ok(true) };
            if state.timer.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
            if closed == Closed::Deciding {
                let timeout = shared.connect_answer_timeout().unwrap_or_default();
                let reason = format!(
                    "connect has no answer within {timeout:?}; the engine of the cluster did not answer in time"
                );
                return Err(Close::by(Cause::ConnectAnswerTimeout, CloseCode::TryAgainLater, reason));
            }
            state.pause_or_open(shared);
        }
    }
}

impl State {
    /// Opens the gate, unless the peer has sent `connect` too often.
    fn pause_or_open(&mut self, shared: &Shared) {
        self.closed = None;
        // The next `connect` takes the token.
        let before = self.steps;
        if !self.take_token(shared) {
            self.closed = Some(Closed::Pausing);
            self.timer.as_mut().reset(Instant::now() + TOKEN_INTERVAL);
        }
        self.steps = before;
    }

    fn take_token(&mut self, shared: &Shared) -> bool {
        self.steps.try_take(1, STEPS_PER_SECOND, shared.clock())
    }
}
