//! Messages of open connections, against one mesh: one test for each rule that a single peer can break.

use std::time::Duration;

use serde_json::json;

use crate::event::{Event, LeaveReason};
use crate::mesh::Config;
use crate::mesh::testing::{LARGE, Lone, SMALL, config, offer_to};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn neighbour_relays_for_its_neighbours_only_and_one_hop() {
    let mut lone = Lone::new(config());
    let (a, b) = (lone.join(SMALL, 7), lone.join(SMALL + 1, 8));
    let mut signal = offer_to(SMALL + 1, SMALL, 5, 7);
    signal["further"] = json!({ "x": 1 });
    lone.relay(a, &signal);
    assert_eq!(lone.relayed(b), [&signal], "with the keys that it does not know");
    // Not from its sender.
    lone.relay(a, &offer_to(SMALL + 1, SMALL + 2, 6, 7));
    assert_eq!(lone.relayed(b).len(), 1);
    // Not a neighbour.
    lone.relay(a, &offer_to(SMALL + 9, SMALL, 7, 7));
    let gone = json!({ "from": SMALL + 9, "to": SMALL, "negotiationId": 7, "reject": "gone" });
    assert_eq!(lone.relayed(a), [&gone]);
    lone.relay(a, &json!({ "from": SMALL, "to": SMALL + 9, "negotiationId": 7, "reject": "left" }));
    assert_eq!(lone.relayed(a).len(), 1, "no reject for a reject");
}

#[test]
fn signal_that_grew_beyond_the_limit_is_not_passed_on() {
    let mut lone = Lone::new(config());
    let (a, b) = (lone.join(SMALL, 7), lone.join(SMALL + 1, 8));
    // 1e9 becomes 1000000000.0: the relay's neighbour would close the relay's connection.
    let numbers = vec!["1e9"; 16_000].join(",");
    let signal = format!(r#"{{"from":{SMALL},"to":{},"negotiationId":1,"reject":"x","n":[{numbers}]}}"#, SMALL + 1);
    lone.receive_text(a, &format!(r#"{{"relay":{signal}}}"#));
    assert!(lone.relayed(b).is_empty());
    assert!(lone.closed.is_empty());
}

#[test]
fn rates_of_a_neighbour_are_limited() {
    let mut lone = Lone::new(config());
    let (a, b) = (lone.join(SMALL, 7), lone.join(SMALL + 1, 8));
    for _ in 0..300 {
        lone.relay(a, &json!({ "from": SMALL, "to": SMALL + 1, "negotiationId": 1, "reject": "x" }));
    }
    assert_eq!(lone.relayed(b).len(), 200);
    for id in 0..5 {
        lone.receive(b, &json!({ "near": [[LARGE + id, 1]] }));
    }
    let near = lone.mesh.neighbours().pop().expect("two neighbours").neighbours;
    assert_eq!(near, [(LARGE + 2, Some(1.0))], "the third list was the last one");
}

#[test]
fn invalid_control_messages_close() {
    let mut lone = Lone::new(config());
    let binary = lone.join(SMALL, 7);
    lone.mesh.control_message(binary, true, b"{}", lone.now);
    lone.settle();
    let long = lone.join(SMALL + 1, 8);
    lone.receive_text(long, &"é".repeat(32_769));
    let kept = lone.join(SMALL + 2, 9);
    lone.receive_text(kept, &"é".repeat(32_768));
    assert_eq!(lone.left(), [(SMALL, LeaveReason::Invalid), (SMALL + 1, LeaveReason::Invalid)]);
}

#[test]
fn sender_of_endless_pieces_is_closed() {
    let mut lone = Lone::new(config());
    let connection = lone.join(SMALL, 7);
    lone.mesh.data_message(connection, None, false, &[0], lone.now);
    lone.settle();
    assert_eq!(lone.left(), [(SMALL, LeaveReason::Invalid)]);
}

#[test]
fn messages_wait_for_the_hello() {
    let mut lone = Lone::new(config());
    let connection = lone.connect(SMALL, 7);
    lone.mesh.data_message(connection, None, false, b"\x03early", lone.now);
    lone.settle();
    assert!(lone.joined().is_empty() && lone.mesh.neighbours().is_empty());
    lone.receive(connection, &json!({ "hello": { "v": 1, "metadata": "Ada" } }));
    let events: Vec<_> = lone.events.iter().skip(2).cloned().collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(matches!(&events[0], Event::PeerJoin { metadata: Some(metadata), .. } if metadata == "Ada"));
    assert!(matches!(&events[1], Event::Message { data, .. } if *data == "early".into()));
    lone.receive(connection, &json!({ "hello": { "v": 1, "metadata": "Bob" } }));
    assert_eq!(lone.mesh.neighbours()[0].metadata, Some(json!("Ada")));
}

#[test]
fn more_than_64_mib_before_the_hello_closes() {
    let mut lone = Lone::new(config());
    let connection = lone.connect(SMALL, 7);
    let mut last = vec![0; 16_385];
    last[0] = 2;
    for _ in 0..5_000 {
        lone.mesh.data_message(connection, None, false, &last, lone.now);
    }
    lone.settle();
    assert_eq!(lone.closed, [connection]);
}

#[test]
fn peer_without_a_hello_has_version_0() {
    let mut lone = Lone::new(config());
    let silent = lone.connect(SMALL, 7);
    lone.advance(Duration::from_millis(4_900));
    assert!(lone.joined().is_empty());
    lone.advance(Duration::from_millis(200));
    assert_eq!(lone.joined(), [SMALL]);
    let old = lone.connect(SMALL + 1, 8);
    lone.receive(old, &json!({ "near": [] }));
    assert_eq!(lone.joined(), [SMALL, SMALL + 1]);
    lone.receive(old, &json!({ "metadata": "Ada" }));
    assert!(!lone.events.iter().any(|event| matches!(event, Event::PeerMetadata { .. })), "it has no metadata");
    assert!(lone.closed.is_empty(), "{silent:?}");
}

#[test]
fn peer_with_the_lower_id_creates_the_common_channels() {
    let channels = vec!["pose".to_owned(), "chat".to_owned()];
    let hello = json!({ "hello": { "v": 1, "channels": ["chat", "other"] } });
    let mut lone = Lone::new(Config { channels, ..config() });
    let lower = lone.connect(SMALL, 7);
    lone.receive(lower, &hello);
    assert!(lone.created.is_empty());
    assert!(lone.mesh.accepts_channel(lower, "pose") && !lone.mesh.accepts_channel(lower, "other"));
    let higher = lone.connect(u32::MAX, 8);
    lone.receive(higher, &hello);
    assert_eq!(lone.created, ["chat"]);
    assert!(!lone.mesh.accepts_channel(higher, "chat"));
    assert_eq!(lone.mesh.recipients(None, Some("chat")).len(), 2);
    assert_eq!(lone.mesh.recipients(None, Some("pose")).len(), 0);
}

#[test]
fn near_is_sent_on_change_with_a_burst_of_two_and_once_per_second() {
    let mut lone = Lone::new(config());
    let first = lone.join(SMALL, 1);
    lone.control.clear();
    for index in 1..20 {
        lone.join(SMALL + index, 1 + u8::try_from(index).expect("few"));
    }
    let count = |lone: &Lone| lone.control.iter().filter(|(id, it)| *id == first && it.get("near").is_some()).count();
    assert_eq!(count(&lone), 1, "the first list was the other one of the burst");
    lone.advance(seconds(10));
    assert!((7..=11).contains(&count(&lone)), "{}", count(&lone));
}

#[test]
fn neighbour_that_lists_invented_ids_costs_eight_attempts_at_once() {
    let mut lone = Lone::new(config());
    let neighbour = lone.join(SMALL, 7);
    for _ in 0..60 {
        let near: Vec<_> = (0..1_000).map(|index| json!([LARGE + index, 1])).collect();
        lone.receive(neighbour, &json!({ "near": near, "x": 0 }));
        lone.receive(neighbour, &json!({ "pong": 0 }));
        assert!(lone.begun.len() - lone.closed.len() <= 8);
        lone.advance(seconds(1));
    }
    let offers: std::collections::BTreeSet<_> = lone
        .relayed(neighbour)
        .iter()
        .filter(|it| it["description"].is_object())
        .map(|it| it["to"].to_string())
        .collect();
    assert!((8..=24).contains(&offers.len()), "{} ids", offers.len());
}
