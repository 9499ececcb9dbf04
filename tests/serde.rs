//! The JSON of stats, snapshots and events, which must stay as it is.

#![cfg(feature = "serde")]

use std::io;
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, Stream, StreamExt as _};
use serde_json::{Value, json, to_value};
use sigver::memory::{self, TestClient};
use sigver::protocol::{CloseCode, GroupKey, LinkId, MemberId, PeerId};
use sigver::{Cause, Frame, HubEvent, JoinRequest, PeerInfo, SignalingHub, TransportError};

/// Returns a hub whose peers have an identity and data.
fn hub() -> SignalingHub {
    let admission = |_| async { Ok(PeerInfo::new().identity("alice").data("not serialized")) };
    SignalingHub::builder().admission(admission).max_peers_per_group(2).build().expect("valid settings")
}

fn json(value: impl serde::Serialize) -> Value {
    to_value(value).expect("the value is serializable")
}

fn pending(events: &mut (impl Stream<Item = HubEvent> + Unpin)) -> Vec<Value> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).map(json).collect()
}

/// Joins with a client IP.
fn join(hub: &SignalingHub) -> TestClient<memory::ChannelTransport> {
    let (there, here) = memory::pair(16);
    let request = JoinRequest::new("room").with_client_ip([192, 0, 2, 7].into());
    tokio::spawn(hub.serve(there, request));
    TestClient::new(here)
}

#[test]
fn ids_keys_codes_and_causes_are_numbers_and_texts() {
    assert_eq!(json(PeerId(7)), json!(7));
    assert_eq!(json(MemberId(u32::MAX)), json!(4294967295_u32));
    assert_eq!(json(LinkId::new(7)), json!(7));
    assert_eq!(json(GroupKey::new("room/1").expect("a valid key")), json!("room/1"));
    assert_eq!(json([CloseCode::GoingAway, CloseCode::app(4001)]), json!([1001, 4001]));
    for cause in Cause::ALL {
        assert_eq!(json(cause), json!(cause.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn stats_and_snapshots_have_the_names_of_their_fields() {
    let hub = hub();
    let [mut member, mut joiner] = [join(&hub), memory::join(&hub, "room")];
    assert!(member.connect(7, &[]).await && !joiner.connect(8, &[]).await);
    assert_eq!(memory::join(&hub, "room").recv_close().await.code, 1013);
    tokio::time::advance(Duration::from_millis(1500)).await;

    let stats = json!({
        "peers": 2, "groups": 1, "links": 1, "reserved_outbox_bytes": 0, "relayed_messages": 0, "ice_configurations": 0,
        "rejections": { "max_peers_per_group": 1 }, "closes": {},
    });
    assert_eq!(json(hub.stats()), stats);
    let groups = hub.groups();
    let key_hash = format!("{:016x}", groups[0].key_hash);
    let group = json!([{ "key": "room", "key_hash": key_hash, "peers": 2, "members": 1, "links": 1 }]);
    assert_eq!(json(groups), group);
    let mut peers = hub.peers("room");
    peers.sort_by_key(|peer| peer.id);
    let expected = json!([
        {
            "id": 0, "key": "room", "identity": "alice", "client_ip": "192.0.2.7", "age_seconds": 1.5, "member_id": 7,
            "is_bound": false, "joiners": 1, "queued_messages": 0, "queued_bytes": 0,
        },
        {
            "id": 1, "key": "room", "identity": "alice", "client_ip": null, "age_seconds": 1.5, "member_id": null,
            "is_bound": true, "joiners": 0, "queued_messages": 0, "queued_bytes": 0,
        },
    ]);
    assert_eq!(json(peers), expected);
}

#[tokio::test(start_paused = true)]
async fn events_have_a_type_and_the_names_of_their_fields() {
    let hub = hub();
    let mut events = hub.events();
    let [mut peer, mut joiner] = [join(&hub), join(&hub)];
    assert!(peer.connect(7, &[]).await && !joiner.connect(8, &[]).await);
    assert_eq!(memory::join(&hub, "room").recv_close().await.code, 1013);
    assert_eq!(memory::join(&hub, "").recv_close().await.code, 4741);
    tokio::time::advance(Duration::from_millis(250)).await;
    joiner.close().await;
    assert_eq!(hub.close_peers_where(|peer| peer.member_id.is_some(), CloseCode::app(4001)), 1);
    assert_eq!(peer.recv_close().await.code, 4001);
    let joined = |peer: u64| {
        let client_ip = "192.0.2.7";
        json!({ "type": "peer_joined", "peer": peer, "key": "room", "identity": "alice", "client_ip": client_ip })
    };
    let answered =
        |peer: u64, member: bool| json!({ "type": "connect_answered", "peer": peer, "key": "room", "member": member });
    let left = |peer: u64, reason: Value| {
        json!({
            "type": "peer_left", "peer": peer, "key": "room", "identity": "alice", "client_ip": "192.0.2.7",
            "reason": reason, "duration_seconds": 0.25,
        })
    };
    let rejected = |cause: &str, reason: &str, key: Option<&str>, identity: Option<&str>| {
        json!({
            "type": "rejected", "is_upgrade": true, "cause": cause, "reason": reason, "key": key, "client_ip": null,
            "identity": identity,
        })
    };
    let mut expected = [
        json!({ "type": "group_created", "key": "room" }),
        joined(0),
        joined(1),
        answered(0, true),
        answered(1, false),
        rejected("max_peers_per_group", "peer limit of the group reached (2)", Some("room"), Some("alice")),
        rejected("invalid_key", "group key is empty; must be 1 to 512 bytes", None, None),
        left(1, json!({ "type": "closed_by_peer", "code": null })),
        left(0, json!({ "type": "closed_by_hub", "code": 4001, "reason": "closed by the app", "cause": null })),
        json!({ "type": "group_removed", "key": "room" }),
    ];
    let mut events = pending(&mut events);
    // The two peers leave at the same time, in any order.
    events.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn disconnect_reasons_and_lagged_have_a_type() {
    let hub = SignalingHub::builder().max_peers(1).event_capacity(4).build().expect("valid settings");
    let mut events = hub.events();
    let (transport, mut client) = memory::pair(1);
    let lost = transport.map(|_| Err(TransportError::from(io::Error::other("reset"))));
    client.send(Frame::Pong("".into())).await.expect("the transport has capacity");
    let reason = hub.serve(lost, "K").await;
    assert_eq!(json(&reason), json!({ "type": "connection_lost", "error": "reset" }));
    let (transport, _client) = memory::pair(1);
    let mut served = tokio_test::task::spawn(hub.serve(transport, "K"));
    assert!(served.poll().is_pending());
    drop(served);
    // Each of the two peers has four events.
    assert_eq!(json(events.next().await), json!({ "type": "lagged", "missed": 4 }));
    let left = pending(&mut events).into_iter().find(|event| event["type"] == "peer_left").expect("the peer has left");
    assert_eq!(left["reason"], json!({ "type": "cancelled" }));
}

#[cfg(feature = "cluster")]
#[tokio::test(start_paused = true)]
async fn cluster_stats_have_the_names_of_their_fields() {
    use sigver::{ClusterConfig, cluster::MemoryBackplane};

    let cluster = ClusterConfig::new(MemoryBackplane::new());
    let (hub, driver) = SignalingHub::builder().build_cluster(cluster).expect("valid settings");
    let expected = |nodes: usize, beat_age: Option<f64>| {
        json!({
            "nodes": nodes, "beat_age_seconds": beat_age, "steps_applied": 0, "steps_condition_failed": 0,
            "steps_full": 0, "steps_unknown": 0, "steps_waiting": 0, "records_sent": 0, "records_received": 0,
            "gaps": 0, "resets": 0, "repairs_put_back": 0, "repairs_removed": 0, "repairs_other_lineage": 0,
        })
    };
    assert_eq!(json(hub.cluster_stats()), expected(0, None));
    tokio::spawn(driver);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(json(hub.cluster_stats()), expected(1, Some(0.5)));
}
