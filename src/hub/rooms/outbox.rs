//! The bounded send queue of one peer.

use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::frame_queue::{FrameQueue, QueuedFrame};
use super::outbox_budget::{FREE_BYTES, Holder, OutboxBudget, Reservation};
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::sync::{Mutex, MutexGuard};
#[cfg(test)]
use crate::protocol::CloseCode;
use crate::protocol::PeerId;

/// A receiver whose oldest frame has waited for this fraction of `outbox_timeout` does not read. It is closed, and not a
/// sender that fills its outbox.
const SLOW_READER: u32 = 5;

/// A bounded queue of frames from a room to the task that polls one peer's future.
///
/// A push never waits and never drops a frame. If it would exceed a limit, the room closes a peer instead: the one that
/// sent most of the queued frames, or a receiver that does not read. The task takes all queued frames as one batch. A
/// task whose transport does not accept all of them returns the rest, so that the outbox has all frames of a slow peer.
///
/// | State | Entered by | A push | `max_outbox_messages` | `max_outbox_bytes` |
/// | --- | --- | --- | --- | --- |
/// | running | creation, `poll_take` | wakes the task | not enforced | enforced |
/// | stalled | `stall` | does not wake the task | enforced | enforced |
/// | closed | `close`, `close_full` | is ignored | | |
///
/// A peer whose task is running is not slow, however many frames are queued. A stalled task cannot use a wake-up for
/// one more frame. The task learns of a close from [`Outbox::poll_take`] or [`Outbox::stall`]. The first close is final.
#[derive(Debug)]
pub(in crate::hub) struct Outbox {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    frames: FrameQueue,
    /// The cost of the frames that the task took, and that the transport may not have written.
    in_flight: usize,
    /// When the first of them was queued. Known while the task is stalled.
    in_flight_since: Option<Duration>,
    /// Covers `frames` and `in_flight`, and knows whether the task is stalled.
    reservation: Reservation,
    closed: Option<Box<Close>>,
    waker: Option<Waker>,
}

/// A frame that would exceed a limit of an outbox.
#[derive(Debug)]
pub(in crate::hub) struct Overflow {
    pub(in crate::hub) frame: QueuedFrame,
    pub(in crate::hub) cause: Cause,
    /// The peer that sent more than half of the queue, this frame included. `None` if the receiver does not read.
    pub(in crate::hub) main_sender: Option<PeerId>,
    /// A larger outbox of a stalled peer, if the total is reached. Closing that peer makes room.
    pub(in crate::hub) larger: Option<Arc<dyn Holder>>,
}

impl Outbox {
    pub(in crate::hub) fn new(budget: Arc<OutboxBudget>) -> Arc<Self> {
        Arc::new_cyclic(|outbox: &Weak<Self>| {
            let queue = Queue {
                frames: FrameQueue::default(),
                in_flight: 0,
                in_flight_since: None,
                reservation: Reservation::new(budget, outbox.clone()),
                closed: None,
                waker: None,
            };
            Self { queue: Mutex::new(queue) }
        })
    }

    /// Appends a frame, unless that would exceed a limit.
    pub(in crate::hub) fn push(&self, frame: QueuedFrame, config: &Config) -> Result<(), Overflow> {
        let mut queue = self.lock();
        if queue.closed.is_some() {
            return Ok(());
        }
        if let Some(cause) = queue.exceeded_limit(frame.cost(), config) {
            let main_sender = queue.main_sender(&frame, cause, config);
            let held = queue.held() + frame.cost();
            let total_reached = cause == Cause::MaxTotalOutboxBytes;
            let larger = total_reached.then(|| queue.reservation.take_larger_stalled(held)).flatten();
            return Err(Overflow { frame, cause, main_sender, larger });
        }
        queue.frames.push(frame);
        if !queue.reservation.is_stalled() {
            wake(queue);
        }
        Ok(())
    }

    /// Discards the queued frames of one sender.
    pub(in crate::hub) fn discard(&self, sender: PeerId) {
        let mut queue = self.lock();
        queue.frames.discard(sender);
        queue.shrink_reservation();
    }

    /// Closes the peer, unless it is closed already.
    pub(in crate::hub) fn close(&self, close: Close) {
        let mut queue = self.lock();
        queue.closed.get_or_insert(Box::new(close));
        wake(queue);
    }

    /// Moves all queued frames into `batch`, which must be empty. Pending while no frame is queued. `in_flight` is the
    /// cost of the frames that the task took before, and that the transport may not have written.
    ///
    /// Fails if the peer is closed. The queued frames then stay for [`Outbox::take_remaining`].
    pub(in crate::hub) fn poll_take(
        &self,
        batch: &mut FrameQueue,
        in_flight: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Close>> {
        debug_assert!(batch.is_empty(), "the previous batch must be written first");
        let mut queue = self.lock();
        if let Some(close) = queue.closed.as_deref() {
            return Poll::Ready(Err(close.clone()));
        }
        queue.reservation.set_stalled(false);
        queue.in_flight_since = None;
        if !queue.frames.is_empty() {
            queue.in_flight = in_flight + queue.frames.cost();
            std::mem::swap(&mut queue.frames, batch);
            return Poll::Ready(Ok(()));
        }
        // The task flushes next. Up to `FREE_BYTES` are not counted, so the task need not call again after the flush.
        queue.in_flight = if in_flight > FREE_BYTES { in_flight } else { 0 };
        queue.shrink_reservation();
        queue.frames.shrink();
        batch.shrink();
        queue.register(cx);
        Poll::Pending
    }

    /// Returns the frames of a task whose transport accepts no more, so that they precede the frames queued since.
    /// `in_flight` has the cost of the frames that the transport may not have written, and when the first of them was
    /// queued. Only a close wakes the task, until it takes frames again.
    ///
    /// Returns when the oldest frame was queued, in flight or not. Fails if the peer is closed, or if the frames in
    /// flight exceed `max_total_outbox_bytes`.
    pub(in crate::hub) fn stall(
        &self,
        batch: &mut FrameQueue,
        in_flight: Option<(usize, Duration)>,
        config: &Config,
        cx: &mut Context<'_>,
    ) -> Result<Option<Duration>, Close> {
        let mut queue = self.lock();
        if !batch.is_empty() {
            queue.frames.prepend(batch);
        }
        batch.shrink();
        queue.reservation.set_stalled(true);
        (queue.in_flight, queue.in_flight_since) = in_flight.map_or((0, None), |(cost, since)| (cost, Some(since)));
        if let Some(close) = queue.closed.as_deref() {
            return Err(close.clone());
        }
        let held = queue.held();
        if !queue.reservation.try_grow(held, config.max_total_outbox_bytes) {
            return Err(Close::outbox_full(Cause::MaxTotalOutboxBytes, config));
        }
        queue.shrink_reservation();
        queue.register(cx);
        Ok(queue.oldest())
    }

    pub(in crate::hub) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// Returns why the peer is closed, if it is.
    pub(in crate::hub) fn close_reason(&self) -> Option<Close> {
        self.lock().closed.as_deref().cloned()
    }

    /// Moves the frames that were queued before the close to the end of `batch`. They count towards
    /// `max_total_outbox_bytes` until the outbox is dropped.
    pub(in crate::hub) fn take_remaining(&self, batch: &mut FrameQueue) {
        batch.append(&mut self.lock().frames);
    }

    /// Returns the number of queued messages, and their cost in bytes.
    pub(in crate::hub) fn queued(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.frames.len(), queue.frames.cost())
    }

    #[cfg(test)]
    pub(in crate::hub) fn close_code(&self) -> Option<CloseCode> {
        self.lock().closed.as_deref().map(Close::code)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Only the clone or the drop of a waker of another runtime can panic under this lock, and changes nothing else.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder for Outbox {
    /// Closes the peer because its outbox is full, and discards the queued frames. The peer misses a frame, so it must
    /// reconnect to start over, and the frames before are of no use.
    fn close_full(&self, close: Close) {
        let mut queue = self.lock();
        queue.frames = FrameQueue::default();
        queue.shrink_reservation();
        queue.closed.get_or_insert(Box::new(close));
        wake(queue);
    }
}

impl Queue {
    /// Returns the limit that one more frame of this cost would exceed. Otherwise the reservation covers the frame.
    fn exceeded_limit(&mut self, cost: usize, config: &Config) -> Option<Cause> {
        let held = self.held() + cost;
        if self.reservation.is_stalled() && self.frames.len() >= config.max_outbox_messages {
            Some(Cause::MaxOutboxMessages)
        } else if self.frames.cost() + cost > config.max_outbox_bytes {
            Some(Cause::MaxOutboxBytes)
        } else if !self.reservation.try_grow(held, config.max_total_outbox_bytes) {
            Some(Cause::MaxTotalOutboxBytes)
        } else {
            None
        }
    }

    /// Returns the peer that sent more than half of the queue and `next`. `None` if a frame has waited so long that the
    /// receiver, and not a sender, is the cause of the overflow.
    fn main_sender(&self, next: &QueuedFrame, cause: Cause, config: &Config) -> Option<PeerId> {
        let oldest = self.oldest().filter(|_| self.reservation.is_stalled());
        let waited = oldest.map(|oldest| next.queued_at().saturating_sub(oldest));
        if waited.is_some_and(|waited| waited > config.outbox_timeout / SLOW_READER) {
            return None;
        }
        // The frames in flight have unknown senders.
        let others = if cause == Cause::MaxTotalOutboxBytes { self.in_flight } else { 0 };
        self.frames.main_sender(next, cause == Cause::MaxOutboxMessages, others)
    }

    /// Returns the cost of the queue and the frames in flight.
    fn held(&self) -> usize {
        self.in_flight + self.frames.cost()
    }

    /// Returns when the oldest frame was queued, in flight or not. A running task knows the frames in flight itself.
    fn oldest(&self) -> Option<Duration> {
        self.in_flight_since.or(self.frames.first_queued_at())
    }

    fn shrink_reservation(&mut self) {
        self.reservation.shrink(self.held());
    }

    fn register(&mut self, cx: &mut Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// Wakes the peer's task after releasing the lock: a waker runs code of the app's runtime.
fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests;
