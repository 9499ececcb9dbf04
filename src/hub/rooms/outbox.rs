//! The bounded send queue of one peer.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::CloseCode;

/// The number of frames up to which an empty queue does not release memory. Bursts are rare, and most peers are idle.
const KEPT_CAPACITY: usize = 8;

/// The assumed cost of a queued frame in addition to its bytes.
const FRAME_OVERHEAD: usize = 64;

/// A bounded queue of frames from a room to the task that polls one peer's future.
///
/// A push never waits and never drops a single frame. A push over a limit closes the peer instead, because a client
/// that missed messages must reconnect to start over. The task takes all queued frames as one batch. This batch counts
/// towards the limits until the task takes the next one.
///
/// | State | Entered by | A push | `max_outbox_messages` | `max_outbox_bytes` |
/// | --- | --- | --- | --- | --- |
/// | writable | creation, `set_writable(true)` | wakes the task | not enforced | enforced |
/// | not writable | `set_writable(false)` | wakes the task only if it closes the peer | enforced | enforced |
/// | closed | `close`, or a push over a limit | is ignored | | |
///
/// A peer whose transport is writable is not slow, however many frames are queued: its task has not run yet. A peer
/// whose transport is not writable cannot use a wake-up for one more frame. The task learns of a close from
/// [`Outbox::poll_take`] or [`Outbox::poll_closed`], whichever it waits for. The first close is final.
#[derive(Debug, Default)]
pub(in crate::hub) struct Outbox {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// The cost of `frames`.
    bytes: usize,
    /// The batch that the task took last and may not have written yet.
    in_flight: Size,
    not_writable: bool,
    closed: Option<Box<Close>>,
    waker: Option<Waker>,
}

/// A number of messages and their total cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hub) struct Size {
    pub(in crate::hub) messages: usize,
    /// The length of the messages, plus [`FRAME_OVERHEAD`] for each.
    pub(in crate::hub) bytes: usize,
}

impl Outbox {
    /// Appends a frame, or closes the peer if that would exceed a limit.
    pub(in crate::hub) fn push(&self, frame: Bytes, config: &Config) {
        let mut queue = self.lock();
        if queue.closed.is_some() {
            return;
        }
        let cost = frame.len() + FRAME_OVERHEAD;
        if let Err(close) = queue.check_limits(cost, config) {
            // The peer would miss the pushed frame, so the frames before it are of no use.
            queue.frames = VecDeque::new();
            queue.bytes = 0;
            queue.closed = Some(Box::new(close));
            return wake(queue);
        }
        queue.bytes += cost;
        queue.frames.push_back(frame);
        if !queue.not_writable {
            wake(queue);
        }
    }

    /// Closes the peer, unless it is closed already.
    pub(in crate::hub) fn close(&self, close: Close) {
        let mut queue = self.lock();
        queue.closed.get_or_insert(Box::new(close));
        wake(queue);
    }

    /// Sets whether the peer's transport accepts frames. After `set_writable(true)` the task must call
    /// [`Outbox::poll_take`], because earlier pushes did not wake it.
    pub(in crate::hub) fn set_writable(&self, writable: bool) {
        self.lock().not_writable = !writable;
    }

    /// Moves all queued frames into `batch`, which must be empty. Pending while no frame is queued.
    ///
    /// Fails if the peer is closed. The queued frames then stay for [`Outbox::take_remaining`].
    pub(in crate::hub) fn poll_take(
        &self,
        batch: &mut VecDeque<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Close>> {
        debug_assert!(batch.is_empty(), "the previous batch must be written first");
        let mut queue = self.lock();
        if let Some(close) = queue.closed.as_deref() {
            return Poll::Ready(Err(close.clone()));
        }
        queue.in_flight = queue.size();
        if queue.frames.is_empty() {
            queue.frames.shrink_to(KEPT_CAPACITY);
            batch.shrink_to(KEPT_CAPACITY);
            queue.register(cx);
            return Poll::Pending;
        }
        std::mem::swap(&mut queue.frames, batch);
        queue.bytes = 0;
        Poll::Ready(Ok(()))
    }

    /// Waits until the peer is closed, for a task that cannot write.
    pub(in crate::hub) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut queue = self.lock();
        if let Some(close) = queue.closed.as_deref() {
            return Poll::Ready(close.clone());
        }
        queue.register(cx);
        Poll::Pending
    }

    /// Returns why the peer is closed, if it is.
    pub(in crate::hub) fn close_reason(&self) -> Option<Close> {
        self.lock().closed.as_deref().cloned()
    }

    /// Appends the frames that were queued before the close to `batch`. There are none if a limit closed the peer.
    pub(in crate::hub) fn take_remaining(&self, batch: &mut VecDeque<Bytes>) {
        let mut queue = self.lock();
        batch.append(&mut queue.frames);
        queue.bytes = 0;
    }

    /// Returns the size of the queue, without the batch in flight.
    pub(in crate::hub) fn queued(&self) -> Size {
        self.lock().size()
    }

    #[cfg(test)]
    pub(in crate::hub) fn close_code(&self) -> Option<CloseCode> {
        self.lock().closed.as_deref().map(Close::code)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics under this lock")
    }
}

impl Queue {
    fn size(&self) -> Size {
        Size { messages: self.frames.len(), bytes: self.bytes }
    }

    fn check_limits(&self, cost: usize, config: &Config) -> Result<(), Close> {
        let messages = self.in_flight.messages + self.frames.len() + 1;
        let bytes = self.in_flight.bytes + self.bytes + cost;
        let (cause, full) = if self.not_writable && messages > config.max_outbox_messages {
            (Cause::MaxOutboxMessages, format!("{} messages", config.max_outbox_messages))
        } else if bytes > config.max_outbox_bytes {
            (Cause::MaxOutboxBytes, format!("{} bytes", config.max_outbox_bytes))
        } else {
            return Ok(());
        };
        Err(Close::by(cause, CloseCode::TryAgainLater, format!("outbox full: {full} queued")))
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
mod tests {
    use super::*;
    use tokio_test::task;

    fn config() -> Config {
        Config { max_outbox_messages: 3, max_outbox_bytes: 3 * FRAME_OVERHEAD + 10, ..Config::default() }
    }

    fn push(outbox: &Outbox, frame: &'static str) {
        outbox.push(frame.into(), &config());
    }

    /// Polls once, with a waker that the test does not look at.
    fn take(outbox: &Outbox, batch: &mut VecDeque<Bytes>) -> Poll<Result<(), CloseCode>> {
        let taken = task::spawn(()).enter(|cx, _| outbox.poll_take(batch, cx));
        taken.map_err(|close| close.code())
    }

    #[test]
    fn all_queued_frames_are_taken_at_once_and_in_order() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        assert_eq!(take(&outbox, &mut batch), Poll::Pending);
        ["a", "b"].iter().for_each(|frame| push(&outbox, frame));
        assert_eq!(outbox.queued(), Size { messages: 2, bytes: 2 + 2 * FRAME_OVERHEAD });
        assert_eq!(take(&outbox, &mut batch), Poll::Ready(Ok(())));
        assert_eq!(batch, ["a", "b"]);
        assert_eq!(outbox.queued(), Size::default());
    }

    #[test]
    fn message_over_max_outbox_messages_closes_a_not_writable_peer_with_1013() {
        let outbox = Outbox::default();
        outbox.set_writable(false);
        ["a", "b", "c"].iter().for_each(|frame| push(&outbox, frame));
        assert_eq!(outbox.close_code(), None);
        push(&outbox, "d");
        assert_eq!(outbox.close_code(), Some(CloseCode::TryAgainLater));
        assert_eq!(outbox.queued(), Size::default());
    }

    #[test]
    fn max_outbox_messages_does_not_apply_to_a_writable_peer() {
        let (outbox, config) = (Outbox::default(), Config::default());
        (0..2000).for_each(|_| outbox.push("offer".into(), &config));
        assert_eq!(outbox.close_code(), None);
    }

    #[test]
    fn byte_over_max_outbox_bytes_closes_with_1013() {
        let outbox = Outbox::default();
        ["0123456789", "", ""].iter().for_each(|frame| push(&outbox, frame));
        assert_eq!(outbox.close_code(), None);
        push(&outbox, "");
        assert_eq!(outbox.close_code(), Some(CloseCode::TryAgainLater));
    }

    #[test]
    fn batch_in_flight_counts_towards_the_limits() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        ["a", "b"].iter().for_each(|frame| push(&outbox, frame));
        assert!(take(&outbox, &mut batch).is_ready());
        outbox.set_writable(false);
        push(&outbox, "c");
        assert_eq!(outbox.close_code(), None);
        push(&outbox, "d");
        assert_eq!(outbox.close_code(), Some(CloseCode::TryAgainLater));
    }

    #[test]
    fn written_batches_do_not_count_towards_the_limits() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        for _ in 0..10 {
            ["a", "b", "c"].iter().for_each(|frame| push(&outbox, frame));
            assert!(take(&outbox, &mut batch).is_ready());
            batch.clear();
            assert!(take(&outbox, &mut batch).is_pending());
        }
        assert_eq!(outbox.close_code(), None);
    }

    #[test]
    fn close_keeps_the_queued_frames_and_the_first_close_is_final() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        push(&outbox, "a");
        outbox.close(CloseCode::BlockingMember.into());
        outbox.close(CloseCode::GoingAway.into());
        push(&outbox, "b");
        assert_eq!(take(&outbox, &mut batch), Poll::Ready(Err(CloseCode::BlockingMember)));
        outbox.take_remaining(&mut batch);
        assert_eq!(batch, ["a"]);
    }

    #[test]
    fn only_a_close_wakes_a_peer_that_is_not_writable() {
        let outbox = Outbox::default();
        let mut peer = task::spawn(());
        outbox.set_writable(false);
        assert!(peer.enter(|cx, _| outbox.poll_closed(cx)).is_pending());
        ["a", "b", "c"].iter().for_each(|frame| push(&outbox, frame));
        assert!(!peer.is_woken());
        push(&outbox, "d");
        assert!(peer.is_woken());
        let Poll::Ready(close) = peer.enter(|cx, _| outbox.poll_closed(cx)) else { panic!("the peer is not closed") };
        assert_eq!((close.cause(), close.reason()), (Some(Cause::MaxOutboxMessages), "outbox full: 3 messages queued"));
    }

    #[test]
    fn push_and_close_wake_a_writable_peer() {
        for wake in [|outbox: &Outbox| push(outbox, "a"), |outbox: &Outbox| outbox.close(CloseCode::GoingAway.into())] {
            let outbox = Outbox::default();
            let mut batch = VecDeque::new();
            let mut peer = task::spawn(());
            assert!(peer.enter(|cx, _| outbox.poll_take(&mut batch, cx)).is_pending());
            wake(&outbox);
            assert!(peer.is_woken());
        }
    }

    #[test]
    fn polling_does_not_change_whether_a_peer_is_writable() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        assert!(task::spawn(()).enter(|cx, _| outbox.poll_closed(cx)).is_pending());
        assert!(!outbox.lock().not_writable);
        outbox.set_writable(false);
        assert!(take(&outbox, &mut batch).is_pending());
        assert!(outbox.lock().not_writable);
    }

    #[test]
    fn empty_queue_releases_its_memory() {
        let config = Config::default();
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        (0..200).for_each(|_| outbox.push(Bytes::new(), &config));
        // Twice, because each take swaps the two queues.
        assert!(take(&outbox, &mut batch).is_ready());
        (0..200).for_each(|_| outbox.push(Bytes::new(), &config));
        batch.clear();
        assert!(take(&outbox, &mut batch).is_ready());
        batch.clear();
        assert!(take(&outbox, &mut batch).is_pending());
        let kept = [batch.capacity(), outbox.lock().frames.capacity()];
        assert!(kept.iter().all(|&kept| kept <= 2 * KEPT_CAPACITY), "{kept:?}");
    }
}
