//! Slow consumers, fairness between reads and writes, and what counts as relayed.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use sigver::memory::{self, ChannelTransport, TestClient};
use sigver::protocol::Message;
use sigver::{Cause, DisconnectReason, Frame, SignalingHub};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};

#[tokio::test(start_paused = true)]
async fn member_that_reads_survives_600_joiners_at_once() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let mut joiners = Vec::new();
    for id in 2..602 {
        let mut joiner = memory::join(&hub, "K");
        assert!(!joiner.connect(id, &[]).await);
        joiners.push(joiner);
    }
    for joiner in &mut joiners {
        joiner.send_content(0, "offer").await;
    }
    for _ in &joiners {
        assert_eq!(member.recv_content().await.1, "offer");
    }
}

async fn recv(transport: &mut ChannelTransport) -> Message {
    match transport.next().await {
        Some(Ok(Frame::Binary(bytes))) => Message::decode(bytes).expect("a valid message"),
        other => panic!("expected a message, got {other:?}"),
    }
}

async fn send(transport: &mut ChannelTransport, message: Message) {
    transport.send(Frame::Binary(message.encode())).await.expect("the hub serves the peer");
}

/// A member, and a joiner whose transport holds one frame.
struct SlowPair {
    member: TestClient<ChannelTransport>,
    slow: ChannelTransport,
    link: u32,
    served: JoinHandle<DisconnectReason>,
}

impl SlowPair {
    async fn open(hub: &SignalingHub) -> Self {
        let mut member = memory::join(hub, "K");
        assert!(member.connect(1, &[]).await);
        let (there, mut slow) = memory::pair(0);
        let served = tokio::spawn(hub.serve(there, "K"));
        send(&mut slow, Message::connect(2, &[])).await;
        assert_eq!(recv(&mut slow).await, Message::Connected(false));
        send(&mut slow, Message::content(0, "offer")).await;
        let (link, _) = member.recv_content().await;
        Self { member, slow, link, served }
    }
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_within_outbox_timeout_is_not_closed_and_receives_heartbeats() {
    const CONTENTS: u8 = 40;
    // One message per second.
    let builder = SignalingHub::builder().outbox_timeout(Duration::from_secs(60));
    let hub = builder.build().expect("valid settings");
    let SlowPair { mut member, mut slow, link, served } = SlowPair::open(&hub).await;
    for n in 0..CONTENTS {
        member.send_content(link, vec![n; 100]).await;
    }
    let start = Instant::now();
    let mut second = interval(Duration::from_secs(1));
    let (mut contents, mut heartbeats) = (0, 0);
    while contents < CONTENTS {
        second.tick().await;
        send(&mut slow, Message::Heartbeat).await;
        member.send_heartbeat().await;
        match recv(&mut slow).await {
            Message::Heartbeat => heartbeats += 1,
            Message::Content { data, .. } => {
                assert_eq!(data[0], contents);
                contents += 1;
            }
            other => panic!("expected content or a heartbeat, got {other:?}"),
        }
    }
    // A client closes a connection without heartbeats, so they must not wait behind the contents.
    assert!(heartbeats >= 7, "{heartbeats}");
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    send(&mut slow, Message::Heartbeat).await;
    drop(slow);
    let reason = served.await.expect("serve does not panic");
    assert!(matches!(reason, DisconnectReason::ClosedByPeer { .. }), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_slower_than_it_receives_is_closed_when_a_message_is_too_old() {
    let hub = SignalingHub::new();
    let SlowPair { mut member, mut slow, link, served } = SlowPair::open(&hub).await;
    for n in 0..40 {
        member.send_content(link, vec![n; 100]).await;
    }
    let start = Instant::now();
    let mut second = interval(Duration::from_secs(1));
    // The hub closes the peer although its transport accepts a message each second.
    while hub.stats().peers == 2 {
        second.tick().await;
        send(&mut slow, Message::Heartbeat).await;
        if let Some(frame) = slow.next().await {
            assert!(matches!(frame, Ok(Frame::Binary(_) | Frame::Close(_))), "{frame:?}");
        }
        member.send_heartbeat().await;
    }
    let reason = served.await.expect("serve does not panic");
    assert_eq!(reason.cause(), Some(Cause::OutboxTimeout), "{reason}");
    // The oldest message was queued at the start. The loop looks once per second.
    assert!((10..=11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn message_waits_in_the_outbox_until_the_transport_has_flushed_earlier_ones() {
    let hub = SignalingHub::new();
    let (there, mut slow) = memory::pair(0);
    // It accepts 8 frames, and its flush ends when the peer has read them.
    let _served = tokio::spawn(hub.serve(there.buffer(8), "K"));
    let queued = async || {
        tokio::task::yield_now().await;
        hub.peers("K")[0].queued_messages
    };
    let mut queued_after_connect = Vec::new();
    for _ in 0..3 {
        send(&mut slow, Message::connect(1, &[])).await;
        queued_after_connect.push(queued().await);
    }
    assert_eq!(queued_after_connect, [0, 1, 2], "the first answer is not flushed");
    assert_eq!(recv(&mut slow).await, Message::Connected(true));
    assert_eq!(queued().await, 0);
}

#[tokio::test(start_paused = true)]
async fn frames_over_the_read_budget_are_read_without_another_event() {
    let hub = SignalingHub::new();
    let (there, here) = memory::pair(500);
    let mut peer = TestClient::new(here);
    for _ in 0..300 {
        peer.send_content(0, "no receiver").await;
    }
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    // Only the task of the hub itself can wake it again.
    let member = timeout(Duration::from_secs(1), peer.connect(1, &[])).await.expect("all frames are read");
    assert!(member);
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn message_of_max_message_bytes_fits_the_smallest_outbox() {
    let builder = SignalingHub::builder().max_message_bytes(1000).max_outbox_bytes(2024);
    let hub = builder.build().expect("valid settings");
    let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    let data = vec![0; 994];
    assert_eq!(Message::content(0, data.clone()).encode().len(), 1000);
    joiner.send_content(0, data).await;
    assert_eq!(member.recv_content().await.1.len(), 994);
}

#[tokio::test(start_paused = true)]
async fn content_without_a_receiver_does_not_count_as_relayed() {
    let hub = SignalingHub::new();
    let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    member.send_content(0, "no receiver").await;
    joiner.send_content(7, "no receiver").await;
    joiner.send_last_content(0, "offer").await;
    joiner.send_content(0, "after the last").await;
    assert!(joiner.connect(2, &[1]).await);
    assert_eq!(member.recv_content().await.1, "offer");
    assert_eq!(hub.stats().relayed_messages, 1);
}
