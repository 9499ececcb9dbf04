//! However a connection's future ends, at whatever point, nothing of the peer is left.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use sigver::memory::{ChannelTransport, Client};
use sigver::protocol::Message;
use sigver::{Frame, HubStats, JoinRequest, PeerInfo, SignalingHub, TransportError, memory};
use tokio_test::task;

/// A transport that is never ready at the first time of asking, so that each thing that a connection waits for is a
/// point where it can be dropped.
struct Hesitant {
    inner: ChannelTransport,
    /// Whether the last time of asking for each of the four things was in vain.
    hesitated: [bool; 4],
}

impl Hesitant {
    fn hesitate(&mut self, thing: usize, cx: &Context<'_>) -> Poll<()> {
        self.hesitated[thing] = !self.hesitated[thing];
        if self.hesitated[thing] {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Stream for Hesitant {
    type Item = Result<Frame, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.hesitate(0, cx));
        self.inner.poll_next_unpin(cx)
    }
}

impl Sink<Frame> for Hesitant {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.hesitate(1, cx));
        self.inner.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.inner.start_send_unpin(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.hesitate(2, cx));
        self.inner.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.hesitate(3, cx));
        self.inner.poll_close_unpin(cx)
    }
}

/// Runs a connection for so many polls and drops it. Says whether it was over before.
///
/// It is a member's joiner, and as the favored member another joiner's member, so that it has everything that can be
/// left behind.
async fn dropped_after(polls: usize, last: &[Frame]) -> bool {
    let admission = |_| async {
        tokio::task::yield_now().await;
        Ok(PeerInfo::new())
    };
    let builder = SignalingHub::builder().admission(admission).max_peers(3).max_peers_per_ip(1);
    let hub = builder.build().expect("sound limits");
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);

    let request = (JoinRequest::new("K").favored(true)).with_client_ip([192, 0, 2, 7].into());
    let (there, mut here) = memory::pair(16);
    let transport = Hesitant { inner: there, hesitated: [false; 4] };
    let mut serve = task::spawn(hub.serve(transport, request.clone()));
    let mut joiner = None;
    let script = [Message::connect(2, &[]), Message::content(0, "offer"), Message::connect(2, &[1])];
    let script = script.map(|message| Frame::Binary(message.encode()));
    let mut frames: VecDeque<_> = script.iter().chain(last).cloned().collect();
    let mut over = false;
    for poll in 0..polls {
        // One frame every few polls, so that each is handled on its own.
        if poll % 8 == 0
            && let Some(frame) = frames.pop_front()
        {
            here.send(frame).await.expect("there is room");
        }
        over = serve.poll().is_ready();
        if over {
            break;
        }
        if poll == 8 * 3 - 2 {
            let mut peer = memory::join(&hub, "K");
            assert!(!peer.connect(3, &[]).await);
            joiner = Some(peer);
        }
        tokio::task::yield_now().await;
    }
    drop(serve);

    let others = 1 + usize::from(joiner.is_some());
    assert_eq!(hub.stats().peers, others, "after {polls} polls");
    drop((member, joiner));
    gone(&hub).await;
    // Its place among those that the limits count is free as well.
    hub.admit(request).await.expect("there is nobody else");
    over
}

/// The other peers' tasks see that their sockets are gone.
async fn gone(hub: &SignalingHub) {
    while hub.stats().peers > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((hub.stats().groups, hub.stats().links), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_at_any_point_leaves_no_ghost() {
    // The peer leaves, or is closed for what it says and answers the close.
    let leaves = [Frame::Close(None)];
    let offends = [Frame::Text("offence".into()), Frame::Close(None)];
    for last in [&leaves[..], &offends] {
        let mut polls = 0;
        while !dropped_after(polls, last).await {
            polls += 1;
            assert!(polls < 1000, "it never ends");
        }
        assert!(polls > 20, "{polls}: not every point was tried");
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_tells_the_other_end() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let (there, here) = memory::pair(16);
    let task = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    let mut joiner = Client::new(here);
    assert!(!joiner.connect(2, &[]).await);
    task.abort();
    assert_eq!(member.recv_content().await.1, "");
    assert_eq!((hub.stats().peers, hub.stats().links), (1, 0));
}

/// A transport that panics when it is read.
struct Broken;

impl Stream for Broken {
    type Item = Result<Frame, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        panic!("a bug in somebody's transport")
    }
}

impl Sink<Frame> for Broken {
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
async fn a_panicking_transport_leaves_no_ghost() {
    let hub = SignalingHub::new();
    let task = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(Broken, "K").await }
    });
    assert!(task.await.expect_err("it panics").is_panic());
    assert_eq!(hub.stats(), HubStats::default());
}
