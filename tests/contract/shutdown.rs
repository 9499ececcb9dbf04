//! Closing peers, groups and the whole hub: `close_peer`, `close_group`, `close_groups_where`, `drain`, `shutdown`.

use std::time::Duration;

use futures::future::join_all;
use sigver::client::ClientError;
use sigver::protocol::CloseCode;
use sigver::{Cause, HubStats, SignalingHub};
use tokio::time::Instant;

use crate::server::{Adapter, OpenRequest, Peer, TestServer};

crate::on_every_adapter_with_one_hub! {
    shutdown_closes_all_peers_with_1001
    drain_closes_all_peers_with_1001
    drained_peers_count_as_closes_only
    join_while_draining_counts_as_rejection_only
    drain_spreads_closes_over_its_timeout
    drain_returns_remaining_peers_after_its_timeout
    close_peer_closes_only_that_peer
    close_group_closes_only_that_group
    close_groups_where_closes_only_matching_groups
}

const BANNED: CloseCode = CloseCode::app(4001);

/// Opens one peer per key. Each has received the answer to its connect.
async fn open_peers(server: &dyn TestServer, keys: &[&str]) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (id, key) in (1..).zip(keys) {
        let mut peer = server.open(key).await;
        let _ = peer.connect(id, &[]).await;
        peers.push(peer);
    }
    peers
}

/// Waits until all peers are closed with this code. The end of a link may precede the close.
async fn expect_close(peers: &mut [Peer], code: u16) {
    for peer in peers {
        loop {
            match peer.recv().await {
                Ok(_) => {}
                Err(ClientError::Closed(Some(frame))) => break assert_eq!(frame.code, code),
                other => panic!("expected a close, but received {other:?}"),
            }
        }
    }
}

async fn shutdown_closes_all_peers_with_1001(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["K", "K", "K", "another"]).await;
    tokio::join!(hub.shutdown(), expect_close(&mut peers, 1001));
    let HubStats { peers, groups, links, .. } = hub.stats();
    assert_eq!((peers, groups, links), (0, 0, 0));
    assert_eq!(server.open_rejected(OpenRequest::new("K")).await, adapter.rejection(503, 1001));
}

async fn drain_closes_all_peers_with_1001(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["K", "K", "K", "another"]).await;
    assert!(!hub.is_draining());
    let (remaining, ()) = tokio::join!(hub.drain(Duration::from_millis(1500)), expect_close(&mut peers, 1001));
    assert!(hub.is_draining());
    assert_eq!((remaining, hub.stats().peers), (0, 0));
}

async fn drained_peers_count_as_closes_only(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["K", "K", "another"]).await;
    let (remaining, ()) = tokio::join!(hub.drain(Duration::from_millis(1500)), expect_close(&mut peers, 1001));
    assert_eq!(remaining, 0);
    let stats = hub.stats();
    assert_eq!((stats.closes.get(Cause::Draining), stats.closes.total()), (3, 3));
    assert_eq!(stats.rejections.total(), 0);
}

async fn join_while_draining_counts_as_rejection_only(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().close_timeout(Duration::from_millis(400)));
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["K"]).await;
    let join_late = async {
        while !hub.is_draining() {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            assert_eq!(server.open_rejected(OpenRequest::new("K")).await, adapter.rejection(503, 1001));
        }
    };
    tokio::join!(hub.drain(Duration::from_millis(1500)), expect_close(&mut peers, 1001), join_late);
    let stats = hub.stats();
    assert_eq!((stats.rejections.get(Cause::Draining), stats.rejections.total()), (2, 2));
    assert_eq!(stats.closes.total(), 1, "the joined peer");
}

async fn drain_spreads_closes_over_its_timeout(adapter: Adapter) {
    let timeout = Duration::from_millis(1400);
    let hub = adapter.build(SignalingHub::builder().close_timeout(Duration::from_millis(400)));
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["A", "B", "C", "D", "E"]).await;
    let start = Instant::now();
    let times = join_all(peers.iter_mut().map(async |peer| {
        assert_eq!(peer.recv_close().await.code, 1001);
        start.elapsed()
    }));
    let (remaining, mut times) = tokio::join!(hub.drain(timeout), times);
    assert_eq!(remaining, 0);
    times.sort();
    for (nth, time) in (0..).zip(times) {
        // One of five every 200 ms, the last one a `close_timeout` before the end. Over TCP any delay is possible.
        let due = Duration::from_millis(200) * nth;
        assert!(time + Duration::from_millis(11) >= due, "peer {nth} after {time:?}");
        assert!(!adapter.has_paused_clock() || time < due + Duration::from_millis(20), "peer {nth} after {time:?}");
    }
}

async fn drain_returns_remaining_peers_after_its_timeout(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().close_timeout(Duration::from_secs(3000)));
    let server = adapter.mount(hub.clone()).await;
    // The peer never reads, so it never answers the close frame.
    let _peers = open_peers(&*server, &["K"]).await;
    assert_eq!(hub.drain(Duration::from_millis(100)).await, 1);
}

async fn close_peer_closes_only_that_peer(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["K", "K", "another"]).await;
    let member = hub.peers("K").into_iter().find(|peer| peer.member_id.is_some()).expect("the group has a member");
    assert!(hub.close_peer(member.id, BANNED));
    expect_close(&mut peers[..1], 4001).await;
    assert_eq!(peers[1].recv_content().await.1, "");
    assert!(peers[1].connect(2, &[]).await);
    assert!(peers[2].connect(3, &[]).await);
    assert!(!hub.close_peer(member.id, BANNED), "the peer is already removed");
}

async fn close_group_closes_only_that_group(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["K", "K", "another"]).await;
    assert_eq!(hub.close_group("K", BANNED), 2);
    expect_close(&mut peers[..2], 4001).await;
    assert!(peers[2].connect(3, &[]).await);
    assert_eq!(hub.close_group("none", BANNED), 0);
    assert!(server.open("K").await.connect(1, &[]).await, "peers may join the group again");
}

async fn close_groups_where_closes_only_matching_groups(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = open_peers(&*server, &["exam/1", "exam/2", "exam/2", "lesson/1"]).await;
    assert_eq!(hub.close_groups_where(|key| key.as_str().starts_with("exam/"), BANNED), 3);
    expect_close(&mut peers[..3], 4001).await;
    assert!(peers[3].connect(3, &[]).await);
}
