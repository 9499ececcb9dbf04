//! What waits to be written to one peer.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::CloseCode;

/// How many frames a queue keeps room for while it is empty: bursts are rare, and idle peers are many.
const KEPT_CAPACITY: usize = 8;

/// What a waiting frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

/// A bounded queue from a room to a peer's task. Pushing never waits; a peer that lets it overflow is closed.
#[derive(Debug, Default)]
pub(in crate::hub) struct Outbox {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// What was taken and may not be written yet counts too: frames and bytes.
    in_flight: (usize, usize),
    closed: Option<Box<Close>>,
    waker: Option<Waker>,
    /// The peer's socket takes nothing, so there is no use in waking its task for one more frame.
    stalled: bool,
}

impl Outbox {
    /// Puts a frame behind the others. After a close it goes nowhere.
    pub(in crate::hub) fn push(&self, frame: Bytes, config: &Config) {
        let mut queue = self.queue.lock().expect("nothing panics under this lock");
        if queue.closed.is_some() {
            return;
        }
        let frames = queue.in_flight.0 + queue.frames.len() + 1;
        let cost = frame.len() + FRAME_OVERHEAD;
        let bytes = queue.in_flight.1 + queue.bytes + cost;
        // While its socket takes all that it gets, a peer is not slow: its task has just not had its turn.
        let too_many = queue.stalled && frames > config.max_outbox_messages;
        if too_many || bytes > config.max_outbox_bytes {
            // Some of it lost is worse than all of it: the peer comes back and starts afresh.
            queue.frames = VecDeque::new();
            queue.closed = Some(Box::new(match too_many {
                true => Close::by(Cause::MaxOutboxMessages, CloseCode::TryAgainLater, "too many messages wait unread"),
                false => Close::by(Cause::MaxOutboxBytes, CloseCode::TryAgainLater, "too many bytes wait unread"),
            }));
        } else {
            queue.bytes += cost;
            queue.frames.push_back(frame);
            if queue.stalled {
                return;
            }
        }
        wake(queue);
    }

    /// Closes the peer. The first reason counts.
    pub(in crate::hub) fn close(&self, closing: Close) {
        let mut queue = self.queue.lock().expect("nothing panics under this lock");
        queue.closed.get_or_insert(Box::new(closing));
        wake(queue);
    }

    /// Takes all that waits, into `batch`, which is empty because the batch before was written. `Err` says that the
    /// peer is to be closed; what it should still get then is left for [`Outbox::drain`].
    pub(in crate::hub) fn poll_take(
        &self,
        batch: &mut VecDeque<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Close>> {
        debug_assert!(batch.is_empty(), "what was taken before is written first");
        let mut queue = self.queue.lock().expect("nothing panics under this lock");
        if let Some(closing) = &queue.closed {
            return Poll::Ready(Err(Close::clone(closing)));
        }
        queue.in_flight = (queue.frames.len(), queue.bytes);
        queue.bytes = 0;
        if !queue.frames.is_empty() {
            std::mem::swap(&mut queue.frames, batch);
            return Poll::Ready(Ok(()));
        }
        queue.frames.shrink_to(KEPT_CAPACITY);
        batch.shrink_to(KEPT_CAPACITY);
        queue.wait(false, cx);
        Poll::Pending
    }

    /// Waits for what to close the peer with, while its socket takes nothing.
    pub(in crate::hub) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut queue = self.queue.lock().expect("nothing panics under this lock");
        queue.wait(true, cx);
        queue.closed.as_deref().map_or(Poll::Pending, |closing| Poll::Ready(closing.clone()))
    }

    /// Adds what waits to `batch`, for the last time. After an overflow that is nothing.
    pub(in crate::hub) fn drain(&self, batch: &mut VecDeque<Bytes>) {
        let mut queue = self.queue.lock().expect("nothing panics under this lock");
        batch.append(&mut queue.frames);
    }

    /// How many messages wait, and how many bytes.
    pub(in crate::hub) fn queued(&self) -> (usize, usize) {
        let queue = self.queue.lock().expect("nothing panics under this lock");
        (queue.frames.len(), queue.bytes)
    }

    #[cfg(test)]
    pub(in crate::hub) fn closed(&self) -> Option<CloseCode> {
        self.queue.lock().expect("nothing panics under this lock").closed.as_ref().map(|closing| closing.code())
    }
}

impl Queue {
    fn wait(&mut self, stalled: bool, cx: &mut Context<'_>) {
        self.stalled = stalled;
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// Wakes the peer's task after the lock is gone: a waker is somebody else's code.
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

    /// Polls once. The task that is woken is a mock that counts nothing here.
    fn take(outbox: &Outbox, batch: &mut VecDeque<Bytes>) -> Poll<Result<(), CloseCode>> {
        let taken = task::spawn(()).enter(|cx, _| outbox.poll_take(batch, cx));
        taken.map_err(|closing| closing.code())
    }

    #[test]
    fn all_that_waits_is_taken_at_once_and_in_order() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        assert_eq!(take(&outbox, &mut batch), Poll::Pending);
        ["a", "b"].iter().for_each(|frame| push(&outbox, frame));
        assert_eq!(take(&outbox, &mut batch), Poll::Ready(Ok(())));
        assert_eq!(batch, ["a", "b"]);
    }

    /// Its socket takes nothing.
    fn stall(outbox: &Outbox) {
        assert!(task::spawn(()).enter(|cx, _| outbox.poll_closed(cx)).is_pending());
    }

    #[test]
    fn one_message_too_many_closes_a_stalled_peer_with_1013() {
        let outbox = Outbox::default();
        stall(&outbox);
        ["a", "b", "c"].iter().for_each(|frame| push(&outbox, frame));
        assert_eq!(outbox.closed(), None);
        push(&outbox, "d");
        assert_eq!(outbox.closed(), Some(CloseCode::TryAgainLater));
    }

    #[test]
    fn a_peer_whose_task_has_not_had_its_turn_is_not_slow() {
        let (outbox, config) = (Outbox::default(), Config::default());
        (0..2000).for_each(|_| outbox.push("offer".into(), &config));
        assert_eq!(outbox.closed(), None);
    }

    #[test]
    fn one_byte_too_many_closes_with_1013() {
        let outbox = Outbox::default();
        ["0123456789", "", ""].iter().for_each(|frame| push(&outbox, frame));
        assert_eq!(outbox.closed(), None);
        push(&outbox, "");
        assert_eq!(outbox.closed(), Some(CloseCode::TryAgainLater));
    }

    #[test]
    fn what_is_taken_and_not_written_still_counts() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        ["a", "b"].iter().for_each(|frame| push(&outbox, frame));
        assert!(take(&outbox, &mut batch).is_ready());
        stall(&outbox);
        push(&outbox, "c");
        assert_eq!(outbox.closed(), None);
        push(&outbox, "d");
        assert_eq!(outbox.closed(), Some(CloseCode::TryAgainLater));
    }

    #[test]
    fn what_is_written_counts_no_more() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        for _ in 0..10 {
            ["a", "b", "c"].iter().for_each(|frame| push(&outbox, frame));
            assert!(take(&outbox, &mut batch).is_ready());
            batch.clear();
            assert!(take(&outbox, &mut batch).is_pending());
        }
        assert_eq!(outbox.closed(), None);
    }

    #[test]
    fn a_close_leaves_what_waits_for_the_end_and_the_first_one_counts() {
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        push(&outbox, "a");
        outbox.close(CloseCode::BlockingMember.into());
        outbox.close(CloseCode::GoingAway.into());
        push(&outbox, "b");
        assert_eq!(take(&outbox, &mut batch), Poll::Ready(Err(CloseCode::BlockingMember)));
        outbox.drain(&mut batch);
        assert_eq!(batch, ["a"]);
    }

    #[test]
    fn while_the_socket_takes_nothing_only_a_close_wakes_the_peer() {
        let outbox = Outbox::default();
        let mut peer = task::spawn(());
        assert!(peer.enter(|cx, _| outbox.poll_closed(cx)).is_pending());
        ["a", "b", "c"].iter().for_each(|frame| push(&outbox, frame));
        assert!(!peer.is_woken());
        push(&outbox, "d");
        assert!(peer.is_woken());
        let closed = peer.enter(|cx, _| outbox.poll_closed(cx)).map(|closing| closing.cause());
        assert_eq!(closed, Poll::Ready(Some(Cause::MaxOutboxMessages)));
    }

    #[test]
    fn a_push_and_a_close_wake_the_peer() {
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
    fn an_empty_queue_gives_its_memory_back() {
        let config = Config::default();
        let (outbox, mut batch) = (Outbox::default(), VecDeque::new());
        (0..200).for_each(|_| outbox.push(Bytes::new(), &config));
        // Twice, as the two queues take turns.
        assert!(take(&outbox, &mut batch).is_ready());
        (0..200).for_each(|_| outbox.push(Bytes::new(), &config));
        batch.clear();
        assert!(take(&outbox, &mut batch).is_ready());
        batch.clear();
        assert!(take(&outbox, &mut batch).is_pending());
        let kept = [batch.capacity(), outbox.queue.lock().expect("nothing panicked").frames.capacity()];
        assert!(kept.iter().all(|&kept| kept <= 2 * KEPT_CAPACITY), "{kept:?}");
    }
}
