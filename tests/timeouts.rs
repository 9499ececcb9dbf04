//! Stalled transports are closed in time, a drain waits no longer than it must, and closes are counted by cause.

#[path = "common/copies.rs"]
mod copies;
#[path = "common/scripted.rs"]
mod scripted;

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use sigver::memory::{self, TestClient};
use sigver::protocol::{CloseCode, Message};
use sigver::{Cause, DisconnectReason, Frame, HubEvent, HubStats, PeerInfo, SignalingHub, TransportError};
use tokio::time::{Instant, timeout};
use tokio_test::task;

use copies::copies;
use scripted::Scripted;

const MINUTE: Duration = Duration::from_secs(60);

fn close_code(reason: &DisconnectReason) -> Option<CloseCode> {
    match reason {
        DisconnectReason::ClosedByHub { code, .. } => Some(*code),
        _ => None,
    }
}

#[tokio::test]
async fn peer_that_sends_endlessly_yields_to_other_tasks() {
    let hub = SignalingHub::new();
    let (read, reads) = copies(Frame::Binary(Message::HEARTBEAT), 100_000);
    let mut serve = task::spawn(hub.serve(Scripted { read, room: usize::MAX, flushes: false }, "K"));
    assert!(serve.poll().is_pending());
    assert!(reads.load(Ordering::Relaxed) <= 100, "{reads:?} frames were read in one poll");
    assert!(serve.is_woken(), "the task does not continue by itself");
}

#[tokio::test(start_paused = true)]
async fn transport_that_never_flushes_is_closed_with_1013_after_outbox_timeout() {
    let builder = SignalingHub::builder().max_missed_heartbeats(100).outbox_timeout(Duration::from_secs(30));
    let hub = builder.build().expect("valid settings");
    let transport = Scripted { read: || None, room: usize::MAX, flushes: false };
    let start = Instant::now();
    let reason = timeout(MINUTE, hub.serve(transport, "K")).await.expect("the hub closes the peer");
    assert_eq!(close_code(&reason), Some(CloseCode::TryAgainLater), "{reason}");
    // The first heartbeat starts `outbox_timeout`, later ones do not restart it; then follows `close_timeout`.
    assert_eq!(start.elapsed().as_secs(), 5 + 30 + 1);
    assert_eq!(hub.stats().closes.get(Cause::OutboxTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn pongs_that_a_peer_does_not_read_count_as_queued() {
    let ping = Frame::Ping(vec![0; 125].into());
    let limits = || SignalingHub::builder().max_message_bytes(1000).max_outbox_bytes(2024);
    for (builder, pings, cause, seconds) in [
        (limits(), 1, Cause::OutboxTimeout, 10),
        (limits().max_total_outbox_bytes(8096), 64, Cause::MaxTotalOutboxBytes, 0),
    ] {
        let hub = builder.build().expect("valid settings");
        let start = Instant::now();
        let (read, _) = copies(ping.clone(), pings);
        let serve = hub.serve(Scripted { read, room: usize::MAX, flushes: false }, "K");
        let reason = timeout(MINUTE, serve).await.expect("the hub closes the peer");
        assert_eq!(reason.cause(), Some(cause), "{reason}");
        // Then follows `close_timeout`.
        assert_eq!(start.elapsed().as_secs(), seconds + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn peer_that_does_not_answer_a_close_is_dropped_after_close_timeout() {
    let hub = SignalingHub::new();
    let (there, here) = memory::pair(16);
    let mut peer = TestClient::new(here);
    peer.send_frame(Frame::Text("not a message".into())).await;
    let start = Instant::now();
    let reason = timeout(MINUTE, hub.serve(there, "K")).await.expect("the hub drops the connection");
    assert_eq!(close_code(&reason), Some(CloseCode::Message));
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_handshake_reads_past_one_invalid_frame_but_not_past_the_second() {
    let hub = SignalingHub::new();
    let (read, reads) = copies(Frame::Text("invalid".into()), 1000);
    let invalid = |_| Err::<Frame, _>(TransportError::Malformed("invalid".into()));
    let transport = Scripted { read, room: usize::MAX, flushes: true }.map(invalid);
    let start = Instant::now();
    let reason = timeout(MINUTE, hub.serve(transport, "K")).await.expect("the hub drops the connection");
    assert_eq!(close_code(&reason), Some(CloseCode::ProtocolError));
    // The first one closes the peer.
    assert_eq!((reads.load(Ordering::Relaxed), start.elapsed().as_secs()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn outbox_timeout_of_a_message_begins_when_it_is_queued_and_not_with_an_earlier_message() {
    let hub = SignalingHub::builder().max_missed_heartbeats(100).build().expect("valid settings");
    let (start, mut connects) = (Instant::now(), 0);
    // The second `connect` is read at the first heartbeat.
    let read = move || {
        let due = connects == start.elapsed().as_secs() / 5 && connects < 2;
        connects += u64::from(due);
        due.then(|| Frame::Binary(Message::connect(1, &[]).encode()))
    };
    // It accepts and flushes the first answer.
    let transport = Scripted { read, room: 1, flushes: true };
    let reason = timeout(MINUTE, hub.serve(transport, "K")).await.expect("the hub closes the peer");
    assert_eq!(reason.cause(), Some(Cause::OutboxTimeout), "{reason}");
    // Then follows `close_timeout`.
    assert_eq!(start.elapsed().as_secs(), 5 + 10 + 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_returns_although_a_peer_is_never_polled_again() {
    let hub = SignalingHub::new();
    let (there, _here) = memory::pair(16);
    let mut serve = task::spawn(hub.serve(there, "K"));
    assert!(serve.poll().is_pending());
    let start = Instant::now();
    timeout(MINUTE, hub.shutdown()).await.expect("shutdown gives up");
    assert_eq!(start.elapsed().as_secs(), 2);
    drop(serve);
    assert_eq!(hub.stats(), HubStats::default());
}

#[tokio::test(start_paused = true)]
async fn admitted_peer_that_joins_during_a_drain_is_closed_before_its_messages_count() {
    let hub = SignalingHub::new();
    let mut events = hub.events();
    let permit = hub.admit("K").await.expect("no drain yet");
    let (server, client) = memory::pair(1);
    let mut peer = TestClient::new(client);
    peer.send_connect(1, &[]).await;
    let drain = tokio::spawn({
        let hub = hub.clone();
        async move { hub.drain(MINUTE).await }
    });
    while !hub.is_draining() {
        tokio::task::yield_now().await;
    }
    let serve = tokio::spawn(permit.serve(server));
    assert_eq!(peer.recv_close().await.code, 1001);
    peer.close().await;
    serve.await.expect("the hub does not panic");
    assert_eq!(drain.await.expect("the drain does not panic"), 0);
    let seen: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten()).collect();
    assert!(seen.iter().any(|event| matches!(event, HubEvent::PeerLeft { .. })), "{seen:?}");
    assert!(!seen.iter().any(|event| matches!(event, HubEvent::ConnectAnswered { .. })), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn closed_peer_counts_in_closes_and_rejected_join_counts_in_rejections() {
    let builder = SignalingHub::builder().max_peers(1).connects_per_second(1).max_members_per_connect(1);
    let hub = builder.build().expect("valid settings");
    let mut peer = memory::join(&hub, "K");
    assert!(peer.connect(1, &[]).await);
    assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
    peer.send_connect(1, &[]).await;
    assert_eq!(peer.recv_close().await.code, 1013);
    let HubStats { rejections, closes, .. } = hub.stats();
    assert_eq!((rejections.get(Cause::MaxPeers), rejections.total()), (1, 1));
    assert_eq!((closes.get(Cause::ConnectsPerSecond), closes.total()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn peer_closed_by_the_app_has_no_cause_and_is_not_counted() {
    let hub = SignalingHub::new();
    let (there, here) = memory::pair(16);
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    let mut peer = TestClient::new(here);
    assert!(peer.connect(1, &[]).await);
    let id = hub.peers("K")[0].id;
    assert!(hub.close_peer(id, CloseCode::app(4001)));
    assert_eq!(peer.recv_close().await.code, 4001);
    peer.close().await;
    let reason = served.await.expect("serve does not panic");
    assert!(matches!(reason, DisconnectReason::ClosedByHub { cause: None, .. }), "{reason:?}");
    assert_eq!(close_code(&reason), Some(CloseCode::app(4001)));
    assert_eq!(hub.stats(), HubStats::default());
    assert!(!hub.close_peer(id, CloseCode::app(4001)));
}

#[tokio::test(start_paused = true)]
async fn connection_counts_from_the_call_of_serve_until_its_future_is_dropped() {
    let hub = SignalingHub::new();
    let (there, _here) = memory::pair(16);
    let serve = hub.serve(there, "K");
    assert_eq!(hub.drain(Duration::ZERO).await, 1);
    drop(serve);
    assert_eq!(hub.drain(Duration::ZERO).await, 0);
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_pending_admissions() {
    let slow = |_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(PeerInfo::new())
    };
    let hub = SignalingHub::builder().admission(slow).build().expect("valid settings");
    let mut late = memory::join(&hub, "K");
    tokio::task::yield_now().await;
    let start = Instant::now();
    let closed = async {
        assert_eq!(late.recv_close().await.code, 1001);
        late.close().await;
    };
    let (remaining, ()) = tokio::join!(hub.drain(Duration::from_secs(60)), closed);
    assert_eq!((remaining, start.elapsed().as_secs()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn drain_ends_once_its_peers_have_left() {
    let hub = SignalingHub::new();
    let peers = [(); 3].map(|()| memory::join(&hub, "K"));
    tokio::task::yield_now().await;
    let start = Instant::now();
    let leave = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(peers);
    };
    let (remaining, ()) = tokio::join!(hub.drain(Duration::from_secs(60)), leave);
    assert_eq!((remaining, start.elapsed().as_secs()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn drain_with_the_longest_timeout_waits_until_its_peers_have_left() {
    let hub = SignalingHub::new();
    let _peers = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    tokio::task::yield_now().await;
    assert_eq!(hub.stats().peers, 2);
    assert_eq!(hub.drain(Duration::MAX).await, 0);
    let closes = hub.stats().closes;
    assert_eq!([closes.get(Cause::Draining), closes.get(Cause::MaxMissedHeartbeats)], [1, 1]);
}
