//! Tests of the outbox.

use tokio_test::task;

use super::*;
use crate::hub::rooms::frame_queue::FRAME_OVERHEAD;

/// The sender of the frames that a test does not attribute.
const SENDER: u64 = 2;

fn config() -> Config {
    Config { max_outbox_messages: 3, max_outbox_bytes: 3 * FRAME_OVERHEAD + 10, ..Config::default() }
}

fn outbox() -> Arc<Outbox> {
    Outbox::new(Arc::default())
}

fn frame(sender: u64, bytes: &'static str) -> QueuedFrame {
    QueuedFrame::new(bytes.into(), PeerId(sender), Duration::ZERO)
}

/// Pushes a frame, and returns the limit that it would exceed.
fn push(outbox: &Outbox, bytes: &'static str) -> Option<Cause> {
    outbox.push(frame(SENDER, bytes), &config()).err().map(|overflow| overflow.cause)
}

/// Polls once, with a waker that the test does not look at.
fn take(outbox: &Outbox, batch: &mut FrameQueue) -> Poll<Result<(), CloseCode>> {
    let taken = task::spawn(()).enter(|cx, _| outbox.poll_take(batch, 0, cx));
    taken.map_err(|close| close.code())
}

/// Stalls the task, and returns a batch to the outbox. `in_flight` was queued at the start.
fn stall(outbox: &Outbox, batch: &mut FrameQueue, in_flight: usize) -> Result<Option<Duration>, CloseCode> {
    let in_flight = (in_flight > 0).then_some((in_flight, Duration::ZERO));
    let stalled = task::spawn(()).enter(|cx, _| outbox.stall(batch, in_flight, &Config::default(), cx));
    stalled.map_err(|close| close.code())
}

fn stalled() -> Arc<Outbox> {
    let outbox = outbox();
    assert_eq!(stall(&outbox, &mut FrameQueue::default(), 0), Ok(None));
    outbox
}

fn texts(batch: FrameQueue) -> Vec<String> {
    batch.into_iter().map(|frame| String::from_utf8(frame.bytes.to_vec()).expect("a text")).collect()
}

#[test]
fn all_queued_frames_are_taken_at_once_and_in_order() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    assert_eq!(take(&outbox, &mut batch), Poll::Pending);
    ["a", "b"].iter().for_each(|frame| assert_eq!(push(&outbox, frame), None));
    assert_eq!(outbox.queued(), (2, 2 + 2 * FRAME_OVERHEAD));
    assert_eq!(take(&outbox, &mut batch), Poll::Ready(Ok(())));
    assert_eq!(outbox.queued(), (0, 0));
    assert_eq!(texts(batch), ["a", "b"]);
}

#[test]
fn max_outbox_messages_applies_to_a_stalled_peer_only() {
    let (running, stalled) = (outbox(), stalled());
    let config = Config { max_outbox_messages: 3, ..Config::default() };
    for n in 0..3 {
        assert!(stalled.push(frame(SENDER, ""), &config).is_ok(), "message {n}");
    }
    let overflow = stalled.push(frame(SENDER, ""), &config).expect_err("the fourth message");
    assert_eq!((overflow.cause, overflow.main_sender), (Cause::MaxOutboxMessages, Some(PeerId(SENDER))));
    assert!((0..1000).all(|_| running.push(frame(SENDER, "offer"), &config).is_ok()));
}

#[test]
fn byte_over_max_outbox_bytes_is_an_overflow() {
    for outbox in [outbox(), stalled()] {
        ["0123456789", ""].iter().for_each(|frame| assert_eq!(push(&outbox, frame), None));
        assert_eq!(push(&outbox, "x"), Some(Cause::MaxOutboxBytes));
        assert_eq!(push(&outbox, ""), None, "an overflow changes nothing");
    }
}

#[test]
fn receiver_that_does_not_read_is_the_cause_of_an_overflow() {
    for (seconds, main_sender) in [(2, Some(PeerId(SENDER))), (3, None)] {
        let (outbox, config) = (outbox(), Config { max_outbox_messages: 1, ..Config::default() });
        assert_eq!(stall(&outbox, &mut FrameQueue::default(), 100), Ok(Some(Duration::ZERO)));
        let frame = || QueuedFrame::new("a".into(), PeerId(SENDER), Duration::from_secs(seconds));
        outbox.push(frame(), &config).expect("the outbox is not full");
        let overflow = outbox.push(frame(), &config).expect_err("the second message");
        assert_eq!(overflow.main_sender, main_sender, "the frame in flight waited for {seconds} s");
    }
}

#[test]
fn age_of_the_queue_follows_its_first_frame() {
    let config = Config { max_outbox_messages: 1, ..Config::default() };
    let frame = |sender, seconds| QueuedFrame::new("a".into(), PeerId(sender), Duration::from_secs(seconds));
    let main_sender = |outbox: &Outbox, frame| outbox.push(frame, &config).expect_err("over the limit").main_sender;
    // Nothing was queued when the peer stalled.
    let outbox = stalled();
    outbox.push(frame(1, 0), &config).expect("the outbox is not full");
    assert_eq!(main_sender(&outbox, frame(1, 2)), Some(PeerId(1)));
    assert_eq!(main_sender(&outbox, frame(1, 3)), None);
    // The frame that waited is discarded.
    outbox.discard(PeerId(1));
    outbox.push(frame(2, 3), &config).expect("the outbox is not full");
    assert_eq!(main_sender(&outbox, frame(2, 4)), Some(PeerId(2)));
}

#[test]
fn returned_frames_count_towards_the_limits_and_precede_later_ones() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    ["a", "b"].iter().for_each(|frame| assert_eq!(push(&outbox, frame), None));
    assert!(take(&outbox, &mut batch).is_ready());
    assert_eq!(push(&outbox, "c"), None);
    batch.pop();
    assert_eq!(stall(&outbox, &mut batch, 0), Ok(Some(Duration::ZERO)));
    assert_eq!(push(&outbox, "d"), None);
    assert_eq!(push(&outbox, "e"), Some(Cause::MaxOutboxMessages));
    assert!(take(&outbox, &mut batch).is_ready());
    assert_eq!(texts(batch), ["b", "c", "d"]);
}

#[test]
fn written_batches_do_not_count_towards_the_limits() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    for _ in 0..10 {
        ["a", "b", "c"].iter().for_each(|frame| assert_eq!(push(&outbox, frame), None));
        assert!(take(&outbox, &mut batch).is_ready());
        batch = FrameQueue::default();
        assert!(take(&outbox, &mut batch).is_pending());
    }
}

#[test]
fn discard_removes_the_frames_of_one_sender() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    for (sender, bytes) in [(1, "a"), (2, "b"), (1, "c")] {
        outbox.push(frame(sender, bytes), &config()).expect("the outbox is not full");
    }
    outbox.discard(PeerId(1));
    assert_eq!(outbox.queued(), (1, 1 + FRAME_OVERHEAD));
    assert!(take(&outbox, &mut batch).is_ready());
    assert_eq!(texts(batch), ["b"]);
}

#[test]
fn close_keeps_the_queued_frames_and_the_first_close_is_final() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    assert_eq!(push(&outbox, "a"), None);
    outbox.close(CloseCode::BlockingMember.into());
    outbox.close_full(CloseCode::GoingAway.into());
    assert_eq!(outbox.close_code(), Some(CloseCode::BlockingMember));
    assert_eq!(take(&outbox, &mut batch), Poll::Ready(Err(CloseCode::BlockingMember)));
    assert_eq!(stall(&outbox, &mut batch, 0), Err(CloseCode::BlockingMember));
}

#[test]
fn close_keeps_queued_and_returned_frames_and_ignores_later_ones() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    assert_eq!(push(&outbox, "a"), None);
    assert!(take(&outbox, &mut batch).is_ready());
    assert_eq!(push(&outbox, "b"), None);
    outbox.close(CloseCode::GoingAway.into());
    assert_eq!(push(&outbox, "c"), None);
    assert_eq!(stall(&outbox, &mut batch, 0), Err(CloseCode::GoingAway));
    outbox.take_remaining(&mut batch);
    assert_eq!(texts(batch), ["a", "b"]);
}

#[test]
fn close_of_a_full_outbox_discards_the_queued_frames() {
    let (outbox, mut batch) = (outbox(), FrameQueue::default());
    assert_eq!(push(&outbox, "a"), None);
    outbox.close_full(CloseCode::TryAgainLater.into());
    outbox.take_remaining(&mut batch);
    assert!(batch.is_empty());
    assert_eq!(outbox.close_code(), Some(CloseCode::TryAgainLater));
}

#[test]
fn only_a_close_wakes_a_stalled_peer() {
    for close in [Outbox::close, Outbox::close_full] as [fn(&Outbox, Close); 2] {
        let (outbox, mut batch) = (outbox(), FrameQueue::default());
        let mut peer = task::spawn(());
        assert!(peer.enter(|cx, _| outbox.stall(&mut batch, None, &Config::default(), cx)).is_ok());
        assert_eq!(push(&outbox, "a"), None);
        outbox.discard(PeerId(SENDER));
        assert!(!peer.is_woken());
        close(&outbox, CloseCode::GoingAway.into());
        assert!(peer.is_woken());
    }
}

#[test]
fn push_and_close_wake_a_peer_that_waits_for_frames() {
    for wake in [|outbox: &Outbox| _ = push(outbox, "a"), |outbox: &Outbox| outbox.close(CloseCode::GoingAway.into())] {
        // A peer that was stalled, and then took all frames.
        let (outbox, mut batch) = (stalled(), FrameQueue::default());
        let mut peer = task::spawn(());
        assert!(peer.enter(|cx, _| outbox.poll_take(&mut batch, 0, cx)).is_pending());
        wake(&outbox);
        assert!(peer.is_woken());
    }
}

/// A large frame that is queued, taken, in flight, flushed or remaining after a close is reserved until it is gone.
#[test]
fn reservation_covers_a_frame_from_the_push_until_it_is_written() {
    let budget = Arc::<OutboxBudget>::default();
    let (outbox, mut batch) = (Outbox::new(budget.clone()), FrameQueue::default());
    let large = || QueuedFrame::new(vec![0; 10_000].into(), PeerId(SENDER), Duration::ZERO);
    let cost = large().cost();
    let poll = |batch: &mut FrameQueue, in_flight| {
        task::spawn(()).enter(|cx, _| outbox.poll_take(batch, in_flight, cx).is_ready())
    };
    for _ in 0..3 {
        outbox.push(large(), &Config::default()).expect("the outbox is not full");
        assert_eq!(budget.reserved(), 16 * 1024);
        assert!(poll(&mut batch, 0));
        assert_eq!(budget.reserved(), 16 * 1024, "taken");
        batch = FrameQueue::default();
        assert!(!poll(&mut batch, cost));
        assert_eq!(budget.reserved(), 16 * 1024, "in flight");
        stall(&outbox, &mut batch, cost).expect("the peer is not closed");
        assert_eq!(budget.reserved(), 16 * 1024, "stalled");
        assert!(!poll(&mut batch, 0));
        assert_eq!(budget.reserved(), 0, "flushed");
    }
    outbox.push(large(), &Config::default()).expect("the outbox is not full");
    outbox.close(CloseCode::GoingAway.into());
    outbox.take_remaining(&mut batch);
    assert_eq!(budget.reserved(), 16 * 1024, "the close handshake writes the frame");
    drop(outbox);
    assert_eq!(budget.reserved(), 0);
}

#[test]
fn taken_frames_and_frames_in_flight_are_reserved_together_with_those_queued_later() {
    let budget = Arc::<OutboxBudget>::default();
    let (outbox, mut batch) = (Outbox::new(budget.clone()), FrameQueue::default());
    let push = || {
        let large = QueuedFrame::new(vec![0; 10_000].into(), PeerId(SENDER), Duration::ZERO);
        outbox.push(large, &Config::default()).expect("the outbox is not full");
    };
    for (in_flight, reserved) in [(0, 32 * 1024), (20_000, 48 * 1024)] {
        push();
        assert!(task::spawn(()).enter(|cx, _| outbox.poll_take(&mut batch, in_flight, cx)).is_ready());
        push();
        push();
        assert_eq!(budget.reserved(), reserved, "30 kB and {in_flight} bytes in flight");
        batch = FrameQueue::default();
        assert!(take(&outbox, &mut batch).is_ready());
        batch = FrameQueue::default();
        assert!(take(&outbox, &mut batch).is_pending());
        assert_eq!(budget.reserved(), 0);
    }
}

#[test]
fn frames_of_a_relay_reserve_nothing() {
    let budget = Arc::<OutboxBudget>::default();
    let (outbox, mut batch) = (Outbox::new(budget.clone()), FrameQueue::default());
    for _ in 0..1000 {
        outbox.push(frame(SENDER, "offer"), &Config::default()).expect("the outbox is not full");
        assert_eq!(budget.reserved(), 0);
        assert!(take(&outbox, &mut batch).is_ready());
        batch.pop().expect("a frame");
        // The task flushes the most that is not counted.
        assert!(task::spawn(()).enter(|cx, _| outbox.poll_take(&mut batch, FREE_BYTES, cx)).is_pending());
        assert_eq!(budget.reserved(), 0);
    }
}

#[test]
fn frame_over_max_total_outbox_bytes_names_a_larger_outbox_of_a_stalled_peer() {
    let config = Config { max_total_outbox_bytes: 256 * 1024, ..Config::default() };
    let large = |bytes| QueuedFrame::new(vec![0; bytes].into(), PeerId(SENDER), Duration::ZERO);
    let budget = Arc::<OutboxBudget>::default();
    let [larger, smaller, other] = [(); 3].map(|()| Outbox::new(budget.clone()));
    for (outbox, bytes) in [(&larger, 150_000), (&smaller, 90_000)] {
        outbox.push(large(bytes), &config).expect("the total is not reached");
        stall(outbox, &mut FrameQueue::default(), 0).expect("the peer is not closed");
    }
    other.push(large(1000), &config).expect("the first bytes are free");
    let overflow = other.push(large(60_000), &config).expect_err("the total is reached");
    assert_eq!((overflow.cause, overflow.main_sender), (Cause::MaxTotalOutboxBytes, Some(PeerId(SENDER))));
    overflow.larger.expect("an outbox is larger").close_full(CloseCode::TryAgainLater.into());
    assert_eq!([&larger, &smaller].map(|outbox| outbox.close_code()), [Some(CloseCode::TryAgainLater), None]);
    other.push(large(60_000), &config).expect("the closed peer released its bytes");
    assert!(budget.reserved() <= config.max_total_outbox_bytes);

    // The queue of the peer itself would be the largest one.
    let overflow = other.push(large(150_000), &config).expect_err("the total is reached");
    assert!(overflow.larger.is_none());
}

#[test]
fn frames_in_flight_over_max_total_outbox_bytes_close_the_peer() {
    let outbox = outbox();
    assert_eq!(stall(&outbox, &mut FrameQueue::default(), 300 << 20), Err(CloseCode::TryAgainLater));
}
