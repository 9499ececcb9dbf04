//! A dropped future removes its peer, at whatever point it is dropped.

#[path = "common/scripted.rs"]
mod scripted;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use sigver::memory::{ChannelTransport, TestClient};
use sigver::protocol::Message;
use sigver::{Frame, HubStats, JoinRequest, PeerInfo, SignalingHub, TransportError, memory};
use tokio_test::task;

use scripted::Scripted;

/// A transport whose every operation is pending when it is first polled, so that each await of the hub is a point where
/// its future can be dropped.
struct PendingFirst {
    inner: ChannelTransport,
    /// Whether the last poll of each operation was pending: read, ready, flush and close.
    pending: [bool; 4],
}

impl PendingFirst {
    fn poll_twice(&mut self, operation: usize, cx: &Context<'_>) -> Poll<()> {
        self.pending[operation] = !self.pending[operation];
        if self.pending[operation] {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Stream for PendingFirst {
    type Item = Result<Frame, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.poll_twice(0, cx));
        self.inner.poll_next_unpin(cx)
    }
}

impl Sink<Frame> for PendingFirst {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_twice(1, cx));
        self.inner.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.inner.start_send_unpin(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_twice(2, cx));
        self.inner.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.poll_twice(3, cx));
        self.inner.poll_close_unpin(cx)
    }
}

/// Polls a connection `polls` times and drops it. Returns whether it ended before.
///
/// The peer is the joiner of a member, and then the favored member of another joiner. So it has every kind of state
/// that could leak.
async fn drop_after(polls: usize, last: &[Frame]) -> bool {
    let admission = |_| async {
        tokio::task::yield_now().await;
        Ok(PeerInfo::new())
    };
    let builder = SignalingHub::builder().admission(admission).max_peers(3).max_peers_per_ip(1);
    let hub = builder.build().expect("valid settings");
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);

    let request = JoinRequest::new("K").favored(true).with_client_ip([192, 0, 2, 7].into());
    let (there, mut here) = memory::pair(16);
    let transport = PendingFirst { inner: there, pending: [false; 4] };
    let mut serve = task::spawn(hub.serve(transport, request.clone()));
    let mut joiner = None;
    let script = [Message::connect(2, &[]), Message::content(0, "offer"), Message::connect(2, &[1])];
    let script = script.map(|message| Frame::Binary(message.encode()));
    let mut frames: VecDeque<_> = script.iter().chain(last).cloned().collect();
    let mut ended = false;
    for poll in 0..polls {
        // One frame every few polls, so that the hub handles each on its own.
        if poll % 8 == 0
            && let Some(frame) = frames.pop_front()
        {
            here.send(frame).await.expect("the transport has capacity");
        }
        ended = serve.poll().is_ready();
        if ended {
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
    wait_until_empty(&hub).await;
    // The peer's slot in the limits is free as well.
    drop(hub.admit(request).await.expect("no other peer is connected"));
    ended
}

/// Waits until the other peers' tasks have ended.
async fn wait_until_empty(hub: &SignalingHub) {
    while hub.stats().peers > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((hub.stats().groups, hub.stats().links), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn peer_is_removed_when_its_future_is_dropped_at_any_point() {
    // The peer closes the connection, or sends an invalid message and answers the hub's close.
    let closes = [Frame::Close(None)];
    let is_closed = [Frame::Text("not a message".into()), Frame::Close(None)];
    for last in [&closes[..], &is_closed] {
        let mut polls = 0;
        while !drop_after(polls, last).await {
            polls += 1;
            assert!(polls < 1000, "the connection never ends");
        }
        assert!(polls > 20, "{polls} polls did not cover every point");
    }
}

#[tokio::test(start_paused = true)]
async fn aborted_task_notifies_the_linked_peer() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let (there, here) = memory::pair(16);
    let task = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    let mut joiner = TestClient::new(here);
    assert!(!joiner.connect(2, &[]).await);
    task.abort();
    assert_eq!(member.recv_content().await.1, "");
    assert_eq!((hub.stats().peers, hub.stats().links), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn peer_is_removed_when_its_transport_panics() {
    let hub = SignalingHub::new();
    let transport = Scripted { read: || panic!("a bug in the transport"), room: usize::MAX, flushes: true };
    let task = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(transport, "K").await }
    });
    assert!(task.await.expect_err("the transport panics").is_panic());
    assert_eq!(hub.stats(), HubStats::default());
}
