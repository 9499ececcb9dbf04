//! Work is charged to the peer that causes it: counts of what the hub handles before it yields to other tasks.

#[path = "common/copies.rs"]
mod copies;
#[path = "common/scripted.rs"]
mod scripted;

use std::sync::atomic::Ordering;
use std::time::Duration;

use sigver::protocol::Message;
use sigver::{Cause, Frame, SignalingHub};
use tokio::task::yield_now;
use tokio::time::advance;
use tokio_test::task;

use copies::copies;
use scripted::Scripted;

#[tokio::test(start_paused = true)]
async fn one_poll_handles_64_units_of_work_or_32_kib() {
    let ids = |count: u32| (0..count).collect::<Vec<_>>();
    for (message, frames, work) in [
        (Message::Heartbeat, 64, "1 for each frame"),
        (Message::connect(1, &[]), 64, "1 for each frame"),
        (Message::connect(1, &ids(63)), 64, "1 for each frame"),
        (Message::connect(1, &ids(64)), 32, "1 for the frame and 1 for 64 ids"),
        (Message::connect(1, &ids(512)), 8, "1 for the frame and 8 for 512 ids"),
        (Message::connect(1, &ids(4096)), 1, "the first frame exceeds the budget"),
        (Message::content(0, vec![0; 400]), 64, "1 for each frame"),
        (Message::content(0, vec![0; 2048]), 16, "32 KiB"),
        (Message::content(0, vec![0; 8200]), 4, "32 KiB"),
        (Message::content(0, vec![0; 60_000]), 1, "the first frame exceeds the budget"),
    ] {
        let hub = SignalingHub::builder().max_members_per_connect(4096).build().expect("valid settings");
        let (read, handled) = copies(Frame::Binary(message.encode()), 1000);
        let mut serve = task::spawn(hub.serve(Scripted { read, room: usize::MAX, flushes: true }, "K"));
        assert!(serve.poll().is_pending());
        assert_eq!(handled.load(Ordering::Relaxed), frames, "{work}");
        assert!(serve.is_woken(), "the task does not continue by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn connect_takes_one_token_and_one_more_for_every_64_ids_that_it_names() {
    for (named, allowed) in [(0, 90), (63, 90), (64, 45), (512, 10)] {
        for (connects, closes) in [(allowed, 0), (allowed + 1, 1)] {
            let hub = SignalingHub::builder().connects_per_second(90).build().expect("valid settings");
            let message = Message::connect(1, &(0..named).collect::<Vec<_>>());
            let (read, _) = copies(Frame::Binary(message.encode()), connects);
            let mut serve = task::spawn(hub.serve(Scripted { read, room: usize::MAX, flushes: true }, "K"));
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
async fn close_handshake_reads_64_units_of_work_per_poll_and_1088_in_total() {
    // 1024 units and 9 for one message of the maximum size, checked every 64 units.
    for (length, each_poll, total) in [(0, 64, 1088), (8192, 32, 544), (60_000, 8, 136)] {
        let hub = SignalingHub::new();
        // The first text message closes the peer. The transport never answers the close frame.
        let (flood, frames) = copies(Frame::Text("x".repeat(length)), 100_000);
        let read = || frames.load(Ordering::Relaxed);
        let mut serve = task::spawn(hub.serve(Scripted { read: flood, room: usize::MAX, flushes: true }, "K"));
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
