//! Snapshots, counters and events of a hub.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use sigver::memory::{self, TestClient};
use sigver::protocol::MemberId;
use sigver::{Cause, CloseCode, DisconnectReason, HubEvent, JoinRequest, PeerInfo, SignalingHub};

const CLIENT_IP: [u8; 4] = [192, 0, 2, 7];

/// Returns a hub whose peers have the last segment of their key as identity.
fn hub_with_identities() -> SignalingHub {
    let admission = |request: JoinRequest| async move {
        let identity = request.key().as_str().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(PeerInfo::new().identity(identity))
    };
    SignalingHub::builder().admission(admission).build().expect("valid settings")
}

async fn wait_for_peers(hub: &SignalingHub, count: usize) {
    while hub.stats().peers < count {
        tokio::task::yield_now().await;
    }
}

async fn next(events: &mut (impl Stream<Item = HubEvent> + Unpin)) -> HubEvent {
    tokio::time::timeout(Duration::from_secs(1), events.next()).await.expect("an event in time").expect("an event")
}

#[tokio::test(start_paused = true)]
async fn snapshots_show_groups_and_peers() {
    let hub = hub_with_identities();
    assert!(hub.groups().is_empty());
    let (server_end, client_end) = memory::pair(16);
    let request = JoinRequest::from("room/alice").with_client_ip(CLIENT_IP.into());
    tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(server_end, request).await }
    });
    let mut alice = TestClient::new(client_end);
    assert!(alice.connect(7, &[]).await);
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut bob = memory::join(&hub, "room/alice");
    assert!(!bob.connect(8, &[]).await);
    let _unconnected = memory::join(&hub, "other");
    tokio::task::yield_now().await;

    let mut groups = hub.groups();
    groups.sort_by(|a, b| a.key.cmp(&b.key));
    let counts: Vec<_> = groups.iter().map(|g| (g.key.as_str(), g.peers, g.members, g.links)).collect();
    assert_eq!(counts, [("other", 1, 0, 0), ("room/alice", 2, 1, 1)]);
    assert_eq!(hub.stats().links, 1);

    let mut peers = hub.peers("room/alice");
    peers.sort_by_key(|peer| peer.id);
    let [alice, bob] = &*peers else { panic!("expected two peers, got {peers:?}") };
    assert_eq!((alice.member_id, alice.is_bound, alice.joiners), (Some(MemberId(7)), false, 1));
    assert_eq!((bob.member_id, bob.is_bound, bob.joiners), (None, true, 0));
    assert_eq!((alice.client_ip, bob.client_ip), (Some(IpAddr::from(CLIENT_IP)), None));
    assert_eq!((alice.age.as_secs(), bob.age.as_secs()), (3, 0));
    assert_eq!(alice.identity.as_deref(), Some("alice"));
    assert_eq!(hub.peers("none"), []);
    assert_eq!(hub.peers(""), [], "an invalid key has no peers");
}

#[tokio::test]
async fn largest_groups_are_the_first_of_all_groups_by_size() {
    let hub = SignalingHub::new();
    assert!(hub.largest_groups(10).await.is_empty());
    let mut peers: Vec<_> = (0..300).map(|n| memory::join(&hub, &*format!("{}", n % 100))).collect();
    peers.extend((0..3).map(|_| memory::join(&hub, "largest")));
    peers.push(memory::join(&hub, "largest"));
    wait_for_peers(&hub, peers.len()).await;

    let mut groups = hub.groups();
    groups.sort_by_key(|group| (Reverse(group.peers), group.key_hash));
    assert_eq!((groups.len(), groups[0].key.as_str(), groups[0].peers), (101, "largest", 4));
    for max in [0, 1, 50, 101, 1000] {
        assert_eq!(hub.largest_groups(max).await, groups[..max.min(101)], "{max}");
    }
}

#[tokio::test]
async fn largest_groups_yields_to_other_tasks() {
    let hub = SignalingHub::new();
    let _peer = memory::join(&hub, "K");
    tokio::task::yield_now().await;
    let mut largest = tokio_test::task::spawn(hub.largest_groups(1));
    let mut pending = 0;
    while largest.poll().is_pending() {
        pending += 1;
    }
    assert!(pending >= 4, "{pending}");
}

#[tokio::test]
async fn group_is_found_by_the_hash_of_its_key() {
    let hub = SignalingHub::new();
    let peers: Vec<_> = (0..100).map(|n| memory::join(&hub, &*n.to_string())).collect();
    wait_for_peers(&hub, peers.len()).await;
    let groups = hub.groups();
    assert_eq!(groups.len(), 100);
    for group in groups {
        assert_eq!(hub.find_group(group.key_hash), Some(group.clone()));
        assert_eq!(hub.find_group(group.key_hash.wrapping_add(1)), None);
    }
}

#[tokio::test(start_paused = true)]
async fn snapshot_shows_the_messages_queued_for_a_slow_consumer() {
    let hub = SignalingHub::new();
    let [mut member, mut slow] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!slow.connect(2, &[]).await);
    slow.send_content(0, "offer").await;
    let (link, _) = member.recv_content().await;
    for _ in 0..100 {
        member.send_content(link, "0123456789").await;
    }
    assert!(member.connect(1, &[]).await);
    let slow = hub.peers("K").into_iter().find(|peer| peer.is_bound).expect("the slow consumer is bound");
    assert!((50..100).contains(&slow.queued_messages), "{slow:?}");
    assert!(slow.queued_bytes >= slow.queued_messages * (10 + 64), "{slow:?}");
}

#[tokio::test(start_paused = true)]
async fn events_report_a_group_from_creation_to_removal() {
    let hub = hub_with_identities();
    let mut events = hub.events();
    let mut alice = memory::join(&hub, "room/alice");
    assert!(alice.connect(1, &[]).await);
    assert!(matches!(next(&mut events).await, HubEvent::GroupCreated { key, .. } if key.as_str() == "room/alice"));
    let HubEvent::PeerJoined { peer: first, identity, client_ip: None, .. } = next(&mut events).await else {
        panic!("expected the first peer to join")
    };
    assert_eq!(identity.as_deref(), Some("alice"));
    assert!(matches!(next(&mut events).await, HubEvent::ConnectAnswered { peer, member: true, .. } if peer == first));

    let mut bob = memory::join(&hub, "room/alice");
    assert!(!bob.connect(2, &[]).await);
    let HubEvent::PeerJoined { peer: second, .. } = next(&mut events).await else {
        panic!("expected the second peer to join")
    };
    assert!(matches!(next(&mut events).await, HubEvent::ConnectAnswered { peer, member: false, .. } if peer == second));

    bob.close().await;
    match next(&mut events).await {
        HubEvent::PeerLeft { peer, reason: DisconnectReason::ClosedByPeer { code: None, .. }, .. }
            if peer == second => {}
        other => panic!("expected the second peer to leave, got {other:?}"),
    }
    hub.close_group(hub.groups()[0].key.as_str(), CloseCode::app(4001));
    match next(&mut events).await {
        HubEvent::PeerLeft { peer, identity, reason: DisconnectReason::ClosedByHub { code, cause, .. }, .. }
            if peer == first =>
        {
            assert_eq!((code, cause, identity.as_deref()), (CloseCode::app(4001), None, Some("alice")));
        }
        other => panic!("expected the hub to close the first peer, got {other:?}"),
    }
    assert!(matches!(next(&mut events).await, HubEvent::GroupRemoved { key, .. } if key.as_str() == "room/alice"));
}

#[tokio::test(start_paused = true)]
async fn every_connect_of_a_member_is_an_event() {
    let hub = SignalingHub::new();
    let mut events = hub.events();
    let mut peer = memory::join(&hub, "K");
    for _ in 0..2 {
        assert!(peer.connect(1, &[]).await);
    }
    let mut answers = 0;
    while let Some(Some(event)) = events.next().now_or_never() {
        answers += usize::from(matches!(event, HubEvent::ConnectAnswered { member: true, .. }));
    }
    assert_eq!(answers, 2);
}

#[tokio::test(start_paused = true)]
async fn cancelled_peer_and_rejected_join_are_events() {
    let hub = SignalingHub::builder().max_peers(1).build().expect("valid settings");
    let mut events = hub.events();
    let (server_end, client_end) = memory::pair(16);
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(server_end, "K").await }
    });
    let mut peer = TestClient::new(client_end);
    assert!(peer.connect(1, &[]).await);
    assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
    served.abort();
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(HubEvent::GroupRemoved { .. })) {
        seen.push(next(&mut events).await);
    }
    let rejections = seen.iter().filter_map(|event| match event {
        HubEvent::Rejected { cause, reason, .. } => Some((*cause, &**reason)),
        _ => None,
    });
    assert_eq!(rejections.collect::<Vec<_>>(), [(Cause::MaxPeers, "peer limit reached (1)")]);
    let is_cancelled =
        |event: &HubEvent| matches!(event, HubEvent::PeerLeft { reason: DisconnectReason::Cancelled, .. });
    assert_eq!(seen.iter().filter(|event| is_cancelled(event)).count(), 1, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn lagging_reader_receives_the_number_of_missed_events() {
    let hub = SignalingHub::builder().event_capacity(8).build().expect("valid settings");
    let (mut lagging, mut other) = (hub.events(), hub.events());
    let mut read = 0;
    for _ in 0..10 {
        let mut peer = memory::join(&hub, "K");
        assert!(peer.connect(1, &[]).await);
        peer.close().await;
        while other.next().now_or_never().is_some() {
            read += 1;
        }
    }
    // Each peer has left when its `close` returns: five events.
    assert_eq!(read, 10 * 5);
    let HubEvent::Lagged { missed, .. } = next(&mut lagging).await else { panic!("expected Lagged") };
    assert_eq!(missed, read - 8);
    for _ in 0..8 {
        assert!(!matches!(next(&mut lagging).await, HubEvent::Lagged { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn events_end_when_the_hub_is_dropped() {
    let hub = SignalingHub::new();
    let [mut before, mut after] = [hub.events(), hub.events()];
    let waiting = tokio::spawn(async move { before.next().await.is_none() });
    tokio::task::yield_now().await;
    drop(hub);
    assert!(after.next().await.is_none());
    let ended = tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("the reader is woken");
    assert!(ended.expect("the reader does not panic"));
}

#[tokio::test(start_paused = true)]
async fn join_rejected_by_a_full_group_emits_no_group_event() {
    let hub = SignalingHub::builder().max_peers_per_group(1).build().expect("valid settings");
    let mut events = hub.events();
    let mut first = memory::join(&hub, "K");
    assert!(first.connect(1, &[]).await);
    assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
    first.close().await;
    let mut group_events = Vec::new();
    while !matches!(group_events.last(), Some(HubEvent::GroupRemoved { .. })) {
        let event = next(&mut events).await;
        if matches!(event, HubEvent::GroupCreated { .. } | HubEvent::GroupRemoved { .. }) {
            group_events.push(event);
        }
    }
    assert_eq!(group_events.len(), 2, "{group_events:?}");
}

#[tokio::test(start_paused = true)]
async fn peers_closed_by_a_drain_count_as_closes_and_not_as_rejections() {
    let hub = SignalingHub::new();
    let [mut first, mut second] = [memory::join(&hub, "A"), memory::join(&hub, "B")];
    assert!(first.connect(1, &[]).await && second.connect(1, &[]).await);
    let closed = async {
        assert_eq!((first.recv_close().await.code, second.recv_close().await.code), (1001, 1001));
    };
    let (_, ()) = tokio::join!(hub.drain(Duration::from_secs(2)), closed);
    let stats = hub.stats();
    assert_eq!((stats.closes.get(Cause::Draining), stats.closes.total()), (2, 2));
    assert_eq!(stats.rejections.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn joins_while_draining_count_as_rejections_and_not_as_closes() {
    let hub = SignalingHub::new();
    let mut events = hub.events();
    assert_eq!(hub.drain(Duration::from_secs(1)).await, 0);
    assert!(hub.is_draining());
    for _ in 0..3 {
        assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1001);
        assert!(matches!(next(&mut events).await, HubEvent::Rejected { cause: Cause::Draining, .. }));
    }
    let stats = hub.stats();
    assert_eq!((stats.rejections.get(Cause::Draining), stats.rejections.total()), (3, 3));
    assert_eq!(stats.closes.total(), 0);
}

#[tokio::test]
async fn join_with_an_invalid_key_counts_as_a_rejection() {
    let hub = SignalingHub::new();
    let mut events = hub.events();
    assert_eq!(memory::join(&hub, "").recv_close().await.code, 4741);
    assert_eq!(hub.stats().rejections.get(Cause::InvalidKey), 1);
    assert!(matches!(next(&mut events).await, HubEvent::Rejected { cause: Cause::InvalidKey, .. }));
}

#[tokio::test]
async fn rejection_from_admit_counts_once_with_and_without_a_connection() {
    let hub = SignalingHub::builder().max_peers(1).build().expect("valid settings");
    let _permit = hub.admit("K").await.expect("the first peer");

    let rejection = hub.admit("K").await.expect_err("the second peer");
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeers), 1, "answered with an HTTP status");

    let (server, _client) = memory::pair(1);
    hub.reject(server, rejection).await;
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeers), 1, "closed after the handshake");
}

#[tokio::test(start_paused = true)]
async fn limit_exceeded_by_a_joined_peer_counts_as_a_close_and_not_as_a_rejection() {
    let hub = SignalingHub::builder().max_message_bytes(10).build().expect("valid settings");
    let mut peer = memory::join(&hub, "K");
    assert!(peer.connect(1, &[]).await);
    peer.send_content(0, "more than ten bytes").await;
    assert_eq!(peer.recv_close().await.code, 1009);
    let stats = hub.stats();
    assert_eq!((stats.closes.get(Cause::MaxMessageBytes), stats.closes.total()), (1, 1));
    assert_eq!(stats.rejections.total(), 0);
}

#[test]
#[cfg(feature = "hyper")]
fn debug_of_a_join_request_hides_key_token_and_cookie() {
    let request = http::Request::get("/signal/the-key?token=the-token").header("cookie", "the-cookie");
    let (parts, ()) = request.body(()).expect("a valid request").into_parts();
    let shown = format!("{:?}", JoinRequest::from("the-key").with_parts(parts));
    assert!(shown.contains("favored: false") && !shown.contains("the-"), "{shown}");
}

#[tokio::test]
async fn debug_of_a_hub_shows_its_counts_and_settings() {
    let shown = format!("{:?}", SignalingHub::builder().max_peers(77).build().expect("valid settings"));
    assert!(shown.contains("peers: 0") && shown.contains("max_peers: 77"), "{shown}");
}
