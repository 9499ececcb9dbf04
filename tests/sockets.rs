//! Sockets that do not do their part, and what the hub does about it in time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Sink, Stream};
use sigver::memory::{self, Client};
use sigver::protocol::{CloseCode, Message};
use sigver::{Ending, Frame, HubStats, SignalingHub, TransportError};
use tokio::time::{Instant, timeout};
use tokio_test::task;

const MINUTE: Duration = Duration::from_secs(60);

/// Always has one more frame to read, and writes nothing of what it takes.
struct Odd {
    /// How many frames were read.
    read: Arc<AtomicUsize>,
    /// Where its frames end.
    frames: usize,
}

impl Stream for Odd {
    type Item = Result<Frame, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.read.fetch_add(1, Ordering::Relaxed) >= self.frames {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::Binary(Message::Heartbeat.encode()))))
    }
}

impl Sink<Frame> for Odd {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Frame) -> Result<(), Self::Error> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }
}

fn code(ending: &Ending) -> Option<CloseCode> {
    match ending {
        Ending::Closed { code, .. } => Some(*code),
        _ => None,
    }
}

#[tokio::test]
async fn a_peer_that_sends_without_end_lets_others_have_their_turn() {
    let hub = SignalingHub::new();
    let read = Arc::new(AtomicUsize::new(0));
    let odd = Odd { read: read.clone(), frames: 100_000 };
    let mut serve = task::spawn(hub.serve(odd, "K"));
    assert!(serve.poll().is_pending());
    assert!(read.load(Ordering::Relaxed) <= 100, "{read:?} frames were read in one turn");
    assert!(serve.is_woken(), "it has its next turn without anything new");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_takes_messages_and_never_writes_them_is_closed_with_1013() {
    let builder = SignalingHub::builder().max_missed_heartbeats(100).outbox_timeout(Duration::from_secs(30));
    let hub = builder.build().expect("sound limits");
    let odd = Odd { read: Arc::default(), frames: 0 };
    let start = Instant::now();
    let ending = timeout(MINUTE, hub.serve(odd, "K")).await.expect("it is closed");
    assert_eq!(code(&ending), Some(CloseCode::TryAgainLater), "{ending}");
    // 30 s from the first heartbeat on, behind which no other is put; and the second that the goodbye may take.
    assert_eq!(start.elapsed().as_secs(), 5 + 30 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_its_close_is_dropped_after_a_second() {
    let hub = SignalingHub::new();
    let (there, here) = memory::pair(16);
    let mut peer = Client::new(here);
    peer.send_frame(Frame::Text("no message".into())).await;
    let start = Instant::now();
    let ending = timeout(MINUTE, hub.serve(there, "K")).await.expect("it is dropped");
    assert_eq!(code(&ending), Some(CloseCode::Message));
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_no_longer_than_it_says() {
    let hub = SignalingHub::new();
    let (there, _here) = memory::pair(16);
    // Nobody ever polls it again.
    let mut forgotten = task::spawn(hub.serve(there, "K"));
    assert!(forgotten.poll().is_pending());
    let start = Instant::now();
    timeout(MINUTE, hub.shutdown()).await.expect("it gives up on it");
    assert_eq!(start.elapsed().as_secs(), 2);
    drop(forgotten);
    assert_eq!(hub.stats(), HubStats::default());
}
