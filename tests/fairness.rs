//! Work is charged to the peer that causes it: counts of what the hub handles before it yields to other tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Sink, Stream};
use sigver::protocol::Message;
use sigver::{Cause, Frame, SignalingHub, TransportError};
use tokio::task::yield_now;
use tokio::time::advance;
use tokio_test::task;

/// A transport with copies of one frame to read. It accepts every frame.
struct Flood {
    frame: Frame,
    /// How many copies are left.
    left: Arc<AtomicUsize>,
}

impl Flood {
    fn new(message: Message, copies: usize) -> Self {
        Self { frame: Frame::Binary(message.encode()), left: Arc::new(AtomicUsize::new(copies)) }
    }
}

impl Stream for Flood {
    type Item = Result<Frame, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.left.load(Ordering::Relaxed) {
            0 => Poll::Pending,
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                Poll::Ready(Some(Ok(self.frame.clone())))
            }
        }
    }
}

impl Sink<Frame> for Flood {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Frame) -> Result<(), Self::Error> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn one_poll_handles_64_units_of_work() {
    let ids = |count: u32| (0..count).collect::<Vec<_>>();
    for (message, frames, work) in [
        (Message::Heartbeat, 64, "1 for each frame"),
        (Message::connect(1, &[]), 64, "1 for each frame"),
        (Message::connect(1, &ids(63)), 64, "1 for each frame"),
        (Message::connect(1, &ids(64)), 32, "1 for the frame and 1 for 64 ids"),
        (Message::connect(1, &ids(512)), 8, "1 for the frame and 8 for 512 ids"),
        (Message::connect(1, &ids(4096)), 1, "the first frame exceeds the budget"),
        (Message::content(0, vec![0; 8200]), 32, "1 for the frame and 1 for 8 KiB"),
        (Message::content(0, vec![0; 60_000]), 8, "1 for the frame and 7 for 56 KiB"),
    ] {
        let hub = SignalingHub::builder().max_members_per_connect(4096).build().expect("valid settings");
        let flood = Flood::new(message, 1000);
        let left = flood.left.clone();
        let mut serve = task::spawn(hub.serve(flood, "K"));
        assert!(serve.poll().is_pending());
        assert_eq!(1000 - left.load(Ordering::Relaxed), frames, "{work}");
        assert!(serve.is_woken(), "the task does not continue by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn connect_takes_one_token_and_one_more_for_every_64_ids_that_it_names() {
    for (named, allowed) in [(0, 90), (63, 90), (64, 45), (512, 10)] {
        for (connects, closes) in [(allowed, 0), (allowed + 1, 1)] {
            let hub = SignalingHub::builder().connects_per_second(90).build().expect("valid settings");
            let message = Message::connect(1, &(0..named).collect::<Vec<_>>());
            let mut serve = task::spawn(hub.serve(Flood::new(message, connects), "K"));
            // The clock is paused, so the bucket does not refill.
            assert!(serve.poll().is_pending());
            while serve.is_woken() {
                assert!(serve.poll().is_pending());
            }
            let stats = hub.stats();
            assert_eq!(stats.closes.get(Cause::ConnectsPerSecond), closes, "{connects} connects of {named} ids");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_handshake_reads_64_units_of_work_in_one_poll_and_stops_after_1024_and_one_message() {
    for (length, each_poll, total) in [(0, 64, 1088), (8192, 32, 544), (60_000, 8, 136)] {
        let hub = SignalingHub::new();
        // The first text message closes the peer. The transport never answers the close frame.
        let flood = Flood { frame: Frame::Text("x".repeat(length)), left: Arc::new(AtomicUsize::new(100_000)) };
        let left = flood.left.clone();
        let read = || 100_000 - left.load(Ordering::Relaxed);
        let mut serve = task::spawn(hub.serve(flood, "K"));
        loop {
            let before = read();
            assert!(serve.poll().is_pending());
            let first = usize::from(before == 0);
            assert!(read() - before <= first + each_poll, "{} frames in one poll", read() - before);
            // Lets the runtime wake the tasks that yielded.
            yield_now().await;
            if !serve.is_woken() {
                break;
            }
        }
        assert_eq!(read(), 1 + total, "frames of {length} bytes");
        advance(Duration::from_secs(1)).await;
        assert!(serve.is_woken(), "the connection ends after `close_timeout`");
        assert!(serve.poll().is_ready());
        assert_eq!(read(), 1 + total);
    }
}
