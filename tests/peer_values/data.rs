//! Where `PeerInfo::data` appears, and when the hub drops it.

use futures::{FutureExt as _, StreamExt as _};
use sigver::{GroupKey, HubEvent, JoinRequest, PeerInfo, SignalingHub, memory};
use tokio::task::yield_now;

use super::{Live, build, wait_until_empty};

struct User {
    name: &'static str,
}

#[tokio::test(start_paused = true)]
async fn data_appears_in_permits_snapshots_and_events_of_its_peer_only() {
    let hub = build(SignalingHub::builder().max_peers_per_group(2).admission(|request: JoinRequest| async move {
        Ok(match request.key().as_str() {
            "guest" => PeerInfo::new().key(GroupKey::new("K")?),
            _ => PeerInfo::new().data(1_u32).data(User { name: "alice" }),
        })
    }));
    let mut events = hub.events();
    let name = |user: &User| user.name;
    let permit = hub.admit("K").await.expect("no limit");
    assert_eq!((permit.data().map(name), permit.data::<u32>()), (Some("alice"), None), "the last call wins");
    assert!(!format!("{permit:?}").contains("alice"));
    let (transport, _alice) = memory::pair(16);
    tokio::spawn(permit.serve(transport));
    let guest = memory::join(&hub, "guest");
    while hub.stats().peers < 2 {
        yield_now().await;
    }
    let mut peers = hub.peers("K");
    peers.sort_by_key(|peer| peer.id);
    assert_eq!((peers[0].data().map(name), peers[1].data().map(name)), (Some("alice"), None));
    assert!(peers.iter().all(|peer| hub.peers("K").contains(peer)), "snapshots of a peer are equal");
    assert!(!format!("{peers:?}").contains("alice"));
    assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
    drop(guest);
    hub.shutdown().await;
    let mut seen = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!format!("{event:?}").contains("alice"));
        match &event {
            HubEvent::PeerJoined { .. } => seen.push(("joined", event.data().map(name))),
            HubEvent::Rejected { .. } => seen.push(("rejected", event.data().map(name))),
            HubEvent::PeerLeft { data, .. } => {
                assert_eq!(data.get().map(name), event.data().map(name));
                seen.push(("left", event.data().map(name)));
            }
            _ => assert!(event.data::<User>().is_none()),
        }
    }
    seen.sort_unstable();
    let (alice, guest) = (Some("alice"), None);
    let expected = [("joined", guest), ("joined", alice), ("left", guest), ("left", alice), ("rejected", alice)];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn data_is_dropped_with_its_last_snapshot_and_event() {
    let live = Live::default();
    let hub = build(SignalingHub::builder().admission({
        let live = live.clone();
        move |_| {
            let info = PeerInfo::new().data(live.value());
            async { Ok(info) }
        }
    }));
    let mut events = hub.events();
    let peer = memory::join(&hub, "K");
    while hub.stats().peers < 1 {
        yield_now().await;
    }
    let snapshot = hub.peers("K");
    drop(peer);
    wait_until_empty(&hub).await;
    drop(snapshot);
    assert_eq!(live.get(), 1, "the events have it");
    while events.next().now_or_never().is_some() {}
    assert_eq!(live.get(), 0, "the events were read");

    drop(memory::join(&hub, "K"));
    yield_now().await;
    wait_until_empty(&hub).await;
    assert_eq!(live.get(), 1);
    drop(events);
    assert_eq!(live.get(), 0, "no reader is left");
}
