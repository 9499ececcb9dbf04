//! Limits and deadlines that close a joined peer.

use std::time::Duration;

use sigver::client::ClientError;
use sigver::{Cause, SignalingHub};
use tokio::time::Instant;

use crate::server::Adapter;

crate::on_every_adapter_with_one_hub! {
    peer_without_connect_is_closed_with_1013
    peer_that_does_not_answer_close_is_dropped_after_close_timeout
    connect_over_max_members_per_connect_closes_with_1008
}

crate::on_every_configurable_adapter! {
    message_over_max_message_bytes_closes_with_1009
    message_over_the_default_size_is_relayed_if_max_message_bytes_allows_it
    member_is_not_evicted_before_eviction_min_age
}

async fn peer_without_connect_is_closed_with_1013(adapter: Adapter) {
    let timeout = if adapter.has_paused_clock() { Duration::from_secs(60) } else { Duration::from_millis(100) };
    let hub = adapter.build(SignalingHub::builder().first_connect_timeout(timeout));
    let server = adapter.mount(hub.clone()).await;
    let mut silent = server.open("K").await;
    let mut heartbeats = 0;
    loop {
        match silent.recv_any().await {
            Ok(_) => {
                heartbeats += 1;
                silent.send_heartbeat().await;
            }
            Err(ClientError::Closed(Some(frame))) => {
                assert_eq!(frame.code, 1013);
                break;
            }
            other => panic!("expected a heartbeat or a close, but received {other:?}"),
        }
    }
    // The last heartbeat is due at the deadline.
    let expected = if adapter.has_paused_clock() { 11..=12 } else { 0..=0 };
    assert!(expected.contains(&heartbeats), "{heartbeats}");
    assert_eq!(hub.stats().closes.get(Cause::FirstConnectTimeout), 1);
}

async fn peer_that_does_not_answer_close_is_dropped_after_close_timeout(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().close_timeout(Duration::from_millis(100)));
    let server = adapter.mount(hub.clone()).await;
    // The peer does not read after this answer, so it never answers the close frame.
    let mut peer = server.open("K").await;
    assert!(peer.connect(1, &[]).await);
    let start = Instant::now();
    assert_eq!(hub.drain(Duration::from_secs(50)).await, 0);
    let elapsed = start.elapsed();
    assert!(!adapter.has_paused_clock() || elapsed < Duration::from_millis(150), "{elapsed:?}");
}

async fn connect_over_max_members_per_connect_closes_with_1008(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().max_members_per_connect(3));
    let server = adapter.mount(hub.clone()).await;
    let mut peer = server.open("K").await;
    assert!(peer.connect(1, &[1, 2, 3]).await);
    peer.send_connect(1, &[1, 2, 3, 4]).await;
    assert_eq!(peer.recv_close().await.code, 1008);
    assert_eq!(hub.stats().closes.get(Cause::MaxMembersPerConnect), 1);
}

async fn message_over_max_message_bytes_closes_with_1009(adapter: Adapter) {
    let server = adapter.start_with(SignalingHub::builder().max_message_bytes(100)).await;
    let mut peer = server.open("K").await;
    assert!(peer.connect(1, &[]).await);
    peer.send_content(0, vec![0; 101]).await;
    assert_eq!(peer.recv_close().await.code, 1009);
}

async fn message_over_the_default_size_is_relayed_if_max_message_bytes_allows_it(adapter: Adapter) {
    let server = adapter.start_with(SignalingHub::builder().max_message_bytes(200_000)).await;
    let [mut member, mut joiner] = [server.open("K").await, server.open("K").await];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    let large = vec![7; 150_000];
    joiner.send_content(0, large.clone()).await;
    assert_eq!(member.recv_content().await.1, large);
}

async fn member_is_not_evicted_before_eviction_min_age(adapter: Adapter) {
    for (min_age, evicts) in [(Duration::from_secs(3600), false), (Duration::from_nanos(1), true)] {
        let server = adapter.start_with(SignalingHub::builder().eviction_min_age(min_age)).await;
        let [mut member, mut joiner] = [server.open("K").await, server.open("K").await];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        if adapter.has_paused_clock() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(joiner.connect(2, &[]).await, evicts, "eviction_min_age is {min_age:?}");
    }
}
