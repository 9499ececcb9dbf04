//! Peers that the hub's owner closes, and a hub that is emptied.

use std::time::Duration;

use futures::future::join_all;
use sigver::protocol::{CloseCode, GroupKey};
use sigver::{HubStats, SignalingHub};
use tokio::time::Instant;

use crate::door::{Door, Kind, Knock, Peer};

crate::over_every_mount! {
    shutdown_closes_everybody_with_1001
    a_drain_closes_everybody_with_1001_and_refuses_who_comes
    a_drain_spreads_the_closes_over_its_time
    a_drain_ends_with_its_time_and_says_who_is_left
    one_peer_is_closed_and_the_others_stay
    one_group_is_closed_and_the_others_stay
    groups_are_closed_by_their_keys
}

const BANNED: CloseCode = CloseCode::app(4001);

/// Peers of these groups, each of which has asked.
async fn peers(door: &dyn Door, keys: &[&str]) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (id, key) in (1..).zip(keys) {
        let mut peer = door.open(key).await;
        peer.connect(id, &[]).await;
        peers.push(peer);
    }
    peers
}

/// Waits until all are closed with this code. The end of a link may come before that.
async fn closed(peers: &mut [Peer], code: u16) {
    for peer in peers {
        loop {
            match peer.recv().await {
                sigver::memory::Heard::Message(_) => {}
                sigver::memory::Heard::Closed(Some(frame)) => break assert_eq!(frame.code, code),
                other => panic!("expected a close, but heard {other:?}"),
            }
        }
    }
}

async fn shutdown_closes_everybody_with_1001(kind: Kind) {
    let hub = SignalingHub::new();
    let door = kind.mount(hub.clone()).await;
    let mut here = peers(&*door, &["K", "K", "K", "another"]).await;
    tokio::join!(hub.shutdown(), closed(&mut here, 1001));
    let HubStats { peers, groups, links, .. } = hub.stats();
    assert_eq!((peers, groups, links), (0, 0, 0));
    assert_eq!(door.refused(Knock::at("K")).await, kind.rejection(503, 1001));
}

async fn a_drain_closes_everybody_with_1001_and_refuses_who_comes(kind: Kind) {
    let hub = SignalingHub::new();
    let door = kind.mount(hub.clone()).await;
    let mut here = peers(&*door, &["K", "K", "K", "another"]).await;
    assert!(!hub.is_draining());
    let late = async {
        while !hub.is_draining() {
            tokio::task::yield_now().await;
        }
        assert_eq!(door.refused(Knock::at("K")).await, kind.rejection(503, 1001));
    };
    let (left, (), ()) = tokio::join!(hub.drain(Duration::from_millis(1500)), closed(&mut here, 1001), late);
    assert_eq!(left, 0);
    assert_eq!(hub.stats().peers, 0);
}

async fn a_drain_spreads_the_closes_over_its_time(kind: Kind) {
    let within = Duration::from_millis(1400);
    let hub = SignalingHub::builder().close_timeout(Duration::from_millis(400)).build().expect("sound limits");
    let door = kind.mount(hub.clone()).await;
    let mut here = peers(&*door, &["A", "B", "C", "D", "E"]).await;
    let start = Instant::now();
    let times = join_all(here.iter_mut().map(async |peer| {
        assert_eq!(peer.recv_close().await, 1001);
        start.elapsed()
    }));
    let (left, mut times) = tokio::join!(hub.drain(within), times);
    assert_eq!(left, 0);
    times.sort();
    for (nth, time) in (0..).zip(times) {
        // One in five every 200 ms, the last one a close's time before the end. How late is up to the machine.
        let due = Duration::from_millis(200) * nth;
        assert!(time + Duration::from_millis(11) >= due, "peer {nth} after {time:?}");
        assert!(kind != Kind::Memory || time < due + Duration::from_millis(20), "peer {nth} after {time:?}");
    }
}

async fn a_drain_ends_with_its_time_and_says_who_is_left(kind: Kind) {
    let limit = Duration::from_secs(3000);
    let hub = SignalingHub::builder().close_timeout(limit).build().expect("sound limits");
    let door = kind.mount(hub.clone()).await;
    // It never reads, so it never answers the close.
    let _deaf = peers(&*door, &["K"]).await;
    assert_eq!(hub.drain(Duration::from_millis(100)).await, 1);
}

async fn one_peer_is_closed_and_the_others_stay(kind: Kind) {
    let hub = SignalingHub::new();
    let door = kind.mount(hub.clone()).await;
    let mut here = peers(&*door, &["K", "K", "another"]).await;
    let key = GroupKey::new("K").expect("a key");
    let member = hub.group(&key).into_iter().find(|peer| peer.member.is_some()).expect("the first one");
    assert!(hub.close_peer(member.peer, BANNED));
    closed(&mut here[..1], 4001).await;
    assert_eq!(here[1].recv_content().await.1, "");
    assert!(here[1].connect(2, &[]).await);
    assert!(here[2].connect(3, &[]).await);
    assert!(!hub.close_peer(member.peer, BANNED), "it is gone");
}

async fn one_group_is_closed_and_the_others_stay(kind: Kind) {
    let hub = SignalingHub::new();
    let door = kind.mount(hub.clone()).await;
    let mut here = peers(&*door, &["K", "K", "another"]).await;
    let key = GroupKey::new("K").expect("a key");
    assert_eq!(hub.close_group(&key, BANNED), 2);
    closed(&mut here[..2], 4001).await;
    assert!(here[2].connect(3, &[]).await);
    assert_eq!(hub.close_group(&GroupKey::new("none").expect("a key"), BANNED), 0);
    assert!(door.open("K").await.connect(1, &[]).await, "they may come back");
}

async fn groups_are_closed_by_their_keys(kind: Kind) {
    let hub = SignalingHub::new();
    let door = kind.mount(hub.clone()).await;
    let mut here = peers(&*door, &["exam/1", "exam/2", "exam/2", "lesson/1"]).await;
    assert_eq!(hub.close_groups_where(|key| key.as_str().starts_with("exam/"), BANNED), 3);
    closed(&mut here[..3], 4001).await;
    assert!(here[3].connect(3, &[]).await);
}
