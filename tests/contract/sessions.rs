//! Sessions that the app ends: `close_identity`, `close_peers_where`, `expires_at` and `max_peers_per_identity`.

use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use sigver::client::ClientError;
use sigver::{
    AtLimit, Cause, CloseCode, DisconnectReason, GroupKey, HubBuilder, HubEvent, JoinRequest, PeerInfo, SignalingHub,
    SignedKeys, memory,
};
use tokio::time::Instant;

use crate::admission::joins;
use crate::server::{Adapter, OpenRequest, Peer};

crate::on_every_adapter_with_one_hub! {
    close_identity_closes_the_peers_of_the_identity_in_all_groups
    close_identity_closes_a_peer_whose_admission_is_running
    close_peers_where_closes_only_matching_peers
    peer_is_closed_with_4740_when_its_access_expires
    join_over_max_peers_per_identity_closes_with_1013
    join_over_max_peers_per_identity_closes_the_oldest_peer_with_1008
}

crate::on_every_configurable_adapter! {
    peer_whose_access_has_expired_is_rejected_with_4740
    peer_is_closed_with_4740_when_its_signed_key_expires
}

const BANNED: CloseCode = CloseCode::app(4001);

/// A hub whose clients open `IDENTITY/KEY`, or `KEY` for a peer without an identity.
pub(crate) fn identities() -> HubBuilder {
    SignalingHub::builder().admission(|request: JoinRequest| async move {
        match request.key().as_str().split_once('/') {
            Some((identity, key)) => Ok(PeerInfo::new().identity(identity).key(GroupKey::new(key)?)),
            None => Ok(PeerInfo::new()),
        }
    })
}

/// Returns the code and the reason of the close frame. The end of a link may precede it.
pub(crate) async fn recv_close_frame(peer: &mut Peer) -> (u16, String) {
    loop {
        match peer.recv().await {
            Ok(_) => {}
            Err(ClientError::Closed(Some(frame))) => return (frame.code, frame.reason),
            other => panic!("expected a close, but received {other:?}"),
        }
    }
}

async fn close_identity_closes_the_peers_of_the_identity_in_all_groups(adapter: Adapter) {
    let hub = adapter.build(identities());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = Vec::new();
    for (id, tail) in (1..).zip(["alice/K", "alice/another", "bob/K", "alicia/K", "K"]) {
        let mut peer = server.open(tail).await;
        let _ = peer.connect(id, &[]).await;
        peers.push(peer);
    }
    assert_eq!(hub.close_identity("nobody", BANNED, "banned"), 0);
    assert_eq!(hub.close_identity("alice", BANNED, "x".repeat(200)), 2);
    for peer in &mut peers[..2] {
        assert_eq!(recv_close_frame(peer).await, (4001, "x".repeat(123)));
    }
    for (id, peer) in (3..).zip(&mut peers[2..]) {
        peer.send_connect(id, &[]).await;
        while !matches!(peer.recv().await.expect("the peer stays"), sigver::client::Event::Connected { .. }) {}
    }
    assert!(server.open("alice/new").await.connect(1, &[]).await, "the identity may join again");
}

async fn close_identity_closes_a_peer_whose_admission_is_running(adapter: Adapter) {
    let (called, mut calls) = tokio::sync::mpsc::channel(1);
    let (answer, answers) = tokio::sync::watch::channel(false);
    let hub = adapter.build(SignalingHub::builder().admission(move |_| {
        let (called, mut answers) = (called.clone(), answers.clone());
        async move {
            called.send(()).await.expect("the test receives calls");
            answers.wait_for(|answer| *answer).await.expect("the test answers");
            Ok(PeerInfo::new().identity("alice"))
        }
    }));
    let server = adapter.mount(hub.clone()).await;
    let mut events = hub.events();
    let close = async {
        calls.recv().await.expect("the hook is called");
        assert_eq!(hub.close_identity("alice", BANNED, "banned"), 0, "the hub does not know the identity yet");
        answer.send(true).expect("a hook waits");
    };
    let (mut peer, ()) = tokio::join!(server.open("K"), close);
    assert_eq!(recv_close_frame(&mut peer).await, (4001, "banned".to_owned()));
    loop {
        if let HubEvent::PeerLeft { reason, .. } = events.next().await.expect("the hub exists") {
            assert!(matches!(reason, DisconnectReason::ClosedByHub { code: BANNED, cause: None, .. }), "{reason}");
            break;
        }
    }
    let (mut next, ()) = tokio::join!(server.open("K"), async { _ = calls.recv().await });
    assert!(next.connect(1, &[]).await, "an admission that began after the close");
}

#[tokio::test(start_paused = true)]
async fn close_identity_closes_a_peer_that_is_admitted_and_has_not_joined() {
    let hub = identities().build().expect("the settings are valid");
    let permits = [hub.admit("alice/K").await, hub.admit("bob/K").await];
    // Longer than any hook may run.
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(hub.close_identity("alice", BANNED, "banned"), 1);
    let [mut alice, mut bob] = permits.map(|permit| {
        let (there, here) = memory::pair(16);
        tokio::spawn(permit.expect("the peer is admitted").serve(there));
        memory::TestClient::new(here)
    });
    assert_eq!(alice.recv_close().await.code, 4001);
    assert!(bob.connect(1, &[]).await);
    drop(hub.admit("alice/K").await.expect("the peer is admitted"));
    assert_eq!(hub.close_identity("alice", BANNED, "banned"), 0, "a dropped permit has left");
}

async fn peer_is_closed_with_4740_when_its_access_expires(adapter: Adapter) {
    let lifetime = Duration::from_millis(1500);
    let hub = adapter.build(SignalingHub::builder().admission(move |request: JoinRequest| async move {
        let now = SystemTime::now();
        Ok(match request.key().as_str() {
            "short" => PeerInfo::new().expires_at(now + lifetime),
            "long" => PeerInfo::new().expires_at(now + Duration::from_secs(1 << 40)),
            _ => PeerInfo::new(),
        })
    }));
    let server = adapter.mount(hub.clone()).await;
    let mut peers = Vec::new();
    for (id, key) in (1..).zip(["short", "long", "K"]) {
        let mut peer = server.open(key).await;
        assert!(peer.connect(id, &[]).await);
        peers.push(peer);
    }
    let start = Instant::now();
    let expected = (4740, "access has expired; a fresh key is required".to_owned());
    assert_eq!(recv_close_frame(&mut peers[0]).await, expected);
    // The time to open the peers is part of the lifetime.
    assert!(!adapter.has_paused_clock() || start.elapsed() > lifetime - Duration::from_millis(100));
    assert_eq!(hub.stats().closes.get(Cause::ExpiresAt), 1);
    for (id, peer) in (2..).zip(&mut peers[1..]) {
        assert!(peer.connect(id, &[]).await);
    }
    assert!(server.open("short").await.connect(1, &[]).await, "the peer may join again");
}

async fn peer_whose_access_has_expired_is_rejected_with_4740(adapter: Adapter) {
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        let past = SystemTime::now() - Duration::from_secs(1);
        Ok(if request.key().as_str() == "K" { PeerInfo::new() } else { PeerInfo::new().expires_at(past) })
    });
    let server = adapter.start_with(builder).await;
    let mut peer = server.open("past").await;
    let expected = (4740, "access had expired before the peer was admitted".to_owned());
    assert_eq!(recv_close_frame(&mut peer).await, expected);
    assert!(server.open("K").await.connect(1, &[]).await);
}

async fn peer_is_closed_with_4740_when_its_signed_key_expires(adapter: Adapter) {
    let keys = SignedKeys::new([7; 32]).expect("the secret has 32 bytes");
    let room = GroupKey::new("room").expect("the key is valid");
    // The expiry is rounded up to seconds.
    let key = keys.sign(&room, SystemTime::now() + Duration::from_secs(2)).expect("the signed key is short enough");
    let server = adapter.start_with(SignalingHub::builder().admission(keys)).await;
    let mut peer = server.open(&key).await;
    assert!(peer.connect(1, &[]).await);
    assert_eq!(recv_close_frame(&mut peer).await.0, 4740);
}

async fn join_over_max_peers_per_identity_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(identities().max_peers_per_identity(2, AtLimit::RejectNew));
    let server = adapter.mount(hub.clone()).await;
    let [mut first, mut second] = [server.open("alice/K").await, server.open("alice/another").await];
    assert!(first.connect(1, &[]).await && second.connect(1, &[]).await);
    let mut third = server.open("alice/third").await;
    let expected = (1013, "peer limit of the identity reached (2)".to_owned());
    assert_eq!(recv_close_frame(&mut third).await, expected);
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeersPerIdentity), 1);
    for tail in ["bob/B", "A", "A", "A"] {
        assert!(joins(&*server, OpenRequest::new(tail)).await, "{tail}");
    }
    first.close().await;
    // The hub releases the place when it notices the disconnect.
    while !joins(&*server, OpenRequest::new("alice/third")).await {}
    assert!(second.connect(1, &[]).await);
}

async fn join_over_max_peers_per_identity_closes_the_oldest_peer_with_1008(adapter: Adapter) {
    // A replaced peer that does not answer the close frame no longer counts.
    let builder = identities().max_peers_per_identity(2, AtLimit::ReplaceOldest);
    let hub = adapter.build(builder.close_timeout(Duration::from_secs(3600)));
    let server = adapter.mount(hub.clone()).await;
    let mut bob = server.open("bob/Z").await;
    assert!(bob.connect(1, &[]).await);
    let mut alices = Vec::new();
    for key in ["A", "B", "C", "D", "E"] {
        let mut alice = server.open(&format!("alice/{key}")).await;
        let _ = alice.connect(2, &[]).await;
        alices.push(alice);
    }
    let expected = (1008, "replaced by a newer peer of the identity, which may have 2".to_owned());
    for alice in &mut alices[..3] {
        assert_eq!(recv_close_frame(alice).await, expected);
    }
    for alice in &mut alices[3..] {
        assert!(alice.connect(2, &[]).await);
    }
    assert!(bob.connect(1, &[]).await);
    let stats = hub.stats();
    assert_eq!((stats.closes.get(Cause::MaxPeersPerIdentity), stats.closes.total()), (3, 3));
    assert_eq!((stats.rejections.total(), stats.peers), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn pending_peer_replaces_another_only_when_it_joins() {
    let builder = identities().max_peers_per_identity(1, AtLimit::ReplaceOldest).max_peers_per_group(1);
    let hub = builder.build().expect("the settings are valid");
    let mut first = memory::join(&hub, "alice/K");
    assert!(first.connect(1, &[]).await);
    drop(hub.admit("alice/K").await.expect("a new peer is admitted"));
    assert!(first.connect(1, &[]).await, "the permit was dropped");
    assert_eq!(memory::join(&hub, "alice/K").recv_close().await.code, 1013, "the group is full");
    assert!(first.connect(1, &[]).await, "a peer that cannot join replaces nobody");
    let mut second = memory::join(&hub, "alice/another");
    assert!(second.connect(1, &[]).await);
    assert_eq!(first.recv_close().await.code, 1008);
}

async fn close_peers_where_closes_only_matching_peers(adapter: Adapter) {
    let hub = adapter.build(identities());
    let server = adapter.mount(hub.clone()).await;
    let mut peers = Vec::new();
    for (id, tail) in (1..).zip(["guest/K", "alice/K", "guest/another", "K"]) {
        let mut peer = server.open(tail).await;
        let _ = peer.connect(id, &[]).await;
        peers.push(peer);
    }
    let closed = hub.close_peers_where(
        |peer| {
            // No lock is held: the predicate may call the hub.
            assert!(hub.peers(&peer.key).iter().any(|other| other.id == peer.id));
            peer.identity.as_deref() == Some("guest") && peer.key.as_str() == "K"
        },
        BANNED,
    );
    assert_eq!(closed, 1);
    assert_eq!(recv_close_frame(&mut peers[0]).await, (4001, "closed by the app".to_owned()));
    assert!(peers[2].connect(3, &[]).await);
    assert_eq!(hub.close_peers_where(|_| false, BANNED), 0);
    while hub.stats().peers > 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.close_peers_where(|_| true, BANNED), 3);
}
