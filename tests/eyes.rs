//! What the owner of a hub can see: snapshots and events.

use std::net::IpAddr;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use sigver::memory::{self, Client};
use sigver::protocol::{CloseCode, GroupKey, MemberId};
use sigver::{Cause, Departure, HubEvent, JoinRequest, PeerInfo, SignalingHub};

const ADDRESS: [u8; 4] = [192, 0, 2, 7];

/// Takes every peer for the user that its key ends with.
fn hub() -> SignalingHub {
    let named = |request: JoinRequest| async move {
        let identity = request.key()?.as_str().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(PeerInfo::new().identity(identity))
    };
    SignalingHub::builder().admission(named).build().expect("sound limits")
}

fn key(text: &str) -> GroupKey {
    GroupKey::new(text).expect("a key")
}

async fn next(events: &mut (impl Stream<Item = HubEvent> + Unpin)) -> HubEvent {
    tokio::time::timeout(Duration::from_secs(1), events.next()).await.expect("something happens").expect("it goes on")
}

#[tokio::test(start_paused = true)]
async fn snapshots_show_groups_and_peers() {
    let hub = hub();
    assert!(hub.groups().is_empty());
    let (there, here) = memory::pair(16);
    let request = JoinRequest::from("room/alice").with_client_ip(ADDRESS.into());
    tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, request).await }
    });
    let mut alice = Client::new(here);
    assert!(alice.connect(7, &[]).await);
    tokio::time::advance(Duration::from_secs(3)).await;
    let mut bob = memory::join(&hub, "room/alice");
    assert!(!bob.connect(8, &[]).await);
    let _lurker = memory::join(&hub, "other");
    tokio::task::yield_now().await;

    let mut groups = hub.groups();
    groups.sort_by(|a, b| a.key.cmp(&b.key));
    let counts: Vec<_> = groups.iter().map(|g| (g.key.as_str(), g.peers, g.members, g.links)).collect();
    assert_eq!(counts, [("other", 1, 0, 0), ("room/alice", 2, 1, 1)]);

    let mut peers = hub.group(&key("room/alice"));
    peers.sort_by_key(|peer| peer.peer);
    let [alice, bob] = &*peers else { panic!("two peers, not {peers:?}") };
    assert_eq!((alice.member, alice.is_bound, alice.joiners), (Some(MemberId(7)), false, 1));
    assert_eq!((bob.member, bob.is_bound, bob.joiners), (None, true, 0));
    assert_eq!((alice.address, bob.address), (Some(IpAddr::from(ADDRESS)), None));
    assert_eq!((alice.age.as_secs(), bob.age.as_secs()), (3, 0));
    assert_eq!(alice.identity.as_deref(), Some("alice"));
    assert_eq!(hub.group(&key("none")), []);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_what_waits_for_a_peer_that_does_not_read() {
    let hub = SignalingHub::new();
    let [mut member, mut deaf] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!deaf.connect(2, &[]).await);
    deaf.send_content(0, "offer").await;
    let (link, _) = member.recv_content().await;
    for _ in 0..100 {
        member.send_content(link, "0123456789").await;
    }
    assert!(member.connect(1, &[]).await);
    let waiting = hub.group(&key("K")).into_iter().find(|peer| peer.is_bound).expect("the deaf one");
    assert!((50..100).contains(&waiting.queued_messages), "{waiting:?}");
    assert!(waiting.queued_bytes >= waiting.queued_messages * (10 + 64), "{waiting:?}");
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_life_of_a_group() {
    let hub = hub();
    let mut events = hub.events();
    let mut alice = memory::join(&hub, "room/alice");
    assert!(alice.connect(1, &[]).await);
    assert!(matches!(next(&mut events).await, HubEvent::GroupCreated { key, .. } if key.as_str() == "room/alice"));
    let HubEvent::PeerJoined { peer: first, identity, address: None, .. } = next(&mut events).await else {
        panic!("it opened a socket")
    };
    assert_eq!(identity.as_deref(), Some("alice"));
    assert!(matches!(next(&mut events).await, HubEvent::Admitted { peer, .. } if peer == first));

    let mut bob = memory::join(&hub, "room/alice");
    assert!(!bob.connect(2, &[]).await);
    let HubEvent::PeerJoined { peer: second, .. } = next(&mut events).await else { panic!("another one did") };
    assert!(matches!(next(&mut events).await, HubEvent::Bound { peer, .. } if peer == second));

    bob.close().await;
    match next(&mut events).await {
        HubEvent::PeerLeft { peer, departure: Departure::Left(None), .. } if peer == second => {}
        other => panic!("expected the second to leave, not {other:?}"),
    }
    hub.close_group(&key("room/alice"), CloseCode::app(4001));
    match next(&mut events).await {
        HubEvent::PeerLeft { peer, departure: Departure::Closed(code), identity, .. } if peer == first => {
            assert_eq!((code, identity.as_deref()), (CloseCode::app(4001), Some("alice")));
        }
        other => panic!("expected the first to be closed, not {other:?}"),
    }
    assert!(matches!(next(&mut events).await, HubEvent::GroupRemoved { key, .. } if key.as_str() == "room/alice"));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_and_a_guard_that_says_no_are_events() {
    let hub = SignalingHub::builder().max_peers(1).build().expect("sound limits");
    let mut events = hub.events();
    let (there, here) = memory::pair(16);
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    let mut peer = Client::new(here);
    assert!(peer.connect(1, &[]).await);
    assert_eq!(memory::join(&hub, "K").recv_close().await, 1013);
    served.abort();
    let mut happened = Vec::new();
    while !matches!(happened.last(), Some(HubEvent::GroupRemoved { .. })) {
        happened.push(next(&mut events).await);
    }
    let refused = |event: &HubEvent| matches!(event, HubEvent::Rejected { cause: Cause::MaxPeers, .. });
    assert_eq!(happened.iter().filter(|event| refused(event)).count(), 1, "{happened:?}");
    let dropped = |event: &HubEvent| matches!(event, HubEvent::PeerLeft { departure: Departure::Dropped, .. });
    assert!(happened.iter().any(dropped), "{happened:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_is_told_what_it_missed() {
    let hub = SignalingHub::builder().event_capacity(8).build().expect("sound limits");
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
    // The last one has not left yet: three events of its coming are read, and five of each of the others.
    assert_eq!(read, 9 * 5 + 3);
    let HubEvent::Lagged { count, .. } = next(&mut lagging).await else { panic!("it missed some") };
    assert_eq!(count, read - 8);
    for _ in 0..8 {
        assert!(!matches!(next(&mut lagging).await, HubEvent::Lagged { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn events_end_with_the_hub() {
    let hub = SignalingHub::new();
    let mut events = hub.events();
    drop(hub);
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_finds_a_group_full_makes_no_event_of_the_group() {
    let hub = SignalingHub::builder().max_peers_per_group(1).build().expect("sound limits");
    let mut events = hub.events();
    let mut first = memory::join(&hub, "K");
    assert!(first.connect(1, &[]).await);
    assert_eq!(memory::join(&hub, "K").recv_close().await, 1013);
    first.close().await;
    let mut about_groups = Vec::new();
    while !matches!(about_groups.last(), Some(HubEvent::GroupRemoved { .. })) {
        let event = next(&mut events).await;
        if matches!(event, HubEvent::GroupCreated { .. } | HubEvent::GroupRemoved { .. }) {
            about_groups.push(event);
        }
    }
    assert_eq!(about_groups.len(), 2, "{about_groups:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_who_is_still_asked_about() {
    let slow = |_| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(PeerInfo::new())
    };
    let hub = SignalingHub::builder().admission(slow).build().expect("sound limits");
    let mut late = memory::join(&hub, "K");
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    let closed = async {
        assert_eq!(late.recv_close().await, 1001);
        late.close().await;
    };
    let (left, ()) = tokio::join!(hub.drain(Duration::from_secs(60)), closed);
    assert_eq!((left, start.elapsed().as_secs()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_may_have_all_the_time_there_is() {
    let hub = SignalingHub::new();
    let _peers = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    tokio::task::yield_now().await;
    assert_eq!(hub.stats().peers, 2);
    assert_eq!(hub.drain(Duration::MAX).await, 0);
}

#[test]
#[cfg(feature = "hyper")]
fn a_visitor_does_not_show_its_token_in_a_log() {
    let request = http::Request::get("/signal/the-key?token=the-token").header("cookie", "the-cookie");
    let (head, ()) = request.body(()).expect("a request").into_parts();
    let shown = format!("{:?}", JoinRequest::from("the-key").with_parts(head));
    assert!(!shown.contains("the-"), "{shown}");
}
