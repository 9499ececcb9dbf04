//! Interrupted connections, against one mesh.

use std::time::Duration;

use serde_json::{Value, json};

use crate::event::LeaveReason;
use crate::mesh::ConnectionId;
use crate::mesh::testing::{LARGE, Lone, SMALL, config, offer_to, sdp};

const RELAY: u32 = SMALL + 9;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A mesh with this neighbour and another one, through which it reaches the first one.
fn with_relay(peer: u32) -> (Lone, ConnectionId, ConnectionId) {
    let mut lone = Lone::new(config());
    let (connection, relay) = (lone.join(peer, 7), lone.join(RELAY, 8));
    lone.receive(relay, &json!({ "near": [[peer, 1]] }));
    (lone, connection, relay)
}

/// As `with_relay`. ICE is disconnected, and the mesh has made one offer.
fn interrupted(peer: u32) -> (Lone, ConnectionId, ConnectionId) {
    let (mut lone, connection, relay) = with_relay(peer);
    ice(&mut lone, connection, false);
    lone.advance(seconds(5));
    assert_eq!(offers(&lone, relay).len(), 1);
    (lone, connection, relay)
}

fn ice(lone: &mut Lone, connection: ConnectionId, connected: bool) {
    lone.mesh.ice_state(connection, connected, lone.now);
    lone.settle();
}

/// The relayed offers that restart ICE.
fn offers(lone: &Lone, relay: ConnectionId) -> Vec<Value> {
    lone.relayed(relay).into_iter().filter(|it| it["description"]["type"] == "offer").cloned().collect()
}

/// The descriptions that it sent over the control channel of a connection.
fn descriptions(lone: &Lone, connection: ConnectionId) -> Vec<Value> {
    let sent = lone.control.iter().filter(|(id, _)| *id == connection);
    sent.filter_map(|(_, message)| message.get("description")).cloned().collect()
}

fn description(kind: &str) -> Value {
    json!({ "description": { "type": kind, "sdp": sdp(7) } })
}

/// A description of the peer of an open connection, for `Lone::relay`.
fn relayed(lone: &Lone, peer: u32, kind: &str) -> Value {
    let mut signal = offer_to(lone.mesh.id(), peer, peer, 7);
    signal["description"]["type"] = json!(kind);
    signal
}

#[test]
fn offer_without_an_answer_is_sent_over_the_control_channel_when_ice_recovers() {
    let (mut lone, connection, relay) = interrupted(LARGE);
    let accepted = lone.accepted.len();
    ice(&mut lone, connection, true);
    assert_eq!(descriptions(&lone, connection), [offers(&lone, relay)[0]["description"].clone()]);
    lone.receive(connection, &description("answer"));
    assert_eq!(lone.accepted.len(), accepted + 1);
    lone.receive(connection, &description("answer"));
    assert_eq!(lone.accepted.len(), accepted + 1, "no offer waits for the second answer");
    lone.receive(connection, &description("offer"));
    assert_eq!(descriptions(&lone, connection).len(), 2, "later offers are answered");
    ice(&mut lone, connection, false);
    ice(&mut lone, connection, true);
    assert_eq!(descriptions(&lone, connection).len(), 2, "the offer has its answer");
}

#[test]
fn crossing_media_offer_is_ignored_by_the_lower_id_until_its_own_offer_has_an_answer() {
    let (mut lone, connection, _) = interrupted(LARGE);
    let accepted = lone.accepted.len();
    lone.receive(connection, &description("offer"));
    assert_eq!(lone.accepted.len(), accepted);
    ice(&mut lone, connection, true);
    lone.receive(connection, &description("answer"));
    lone.receive(connection, &description("offer"));
    assert_eq!(lone.accepted.len(), accepted + 2);
    let sent = descriptions(&lone, connection);
    assert_eq!(sent.iter().map(|it| it["type"].as_str()).collect::<Vec<_>>(), [Some("offer"), Some("answer")]);
}

#[test]
fn crossing_media_offer_replaces_the_offer_of_the_higher_id() {
    let (mut lone, connection, relay) = interrupted(SMALL);
    let accepted = lone.accepted.len();
    lone.receive(connection, &description("offer"));
    assert_eq!(lone.accepted.len(), accepted + 1);
    let answer = relayed(&lone, SMALL, "answer");
    lone.relay(relay, &answer);
    assert_eq!(lone.accepted.len(), accepted + 1, "the own offer is no longer open");
    ice(&mut lone, connection, true);
    assert_eq!(descriptions(&lone, connection).len(), 1, "the answer only");
}

#[test]
fn relayed_offer_that_crosses_the_one_of_the_lower_id_causes_a_repetition() {
    let (mut lone, connection, relay) = interrupted(LARGE);
    ice(&mut lone, connection, true);
    lone.advance(seconds(2)); // a ping is unanswered
    let (accepted, crossing) = (lone.accepted.len(), relayed(&lone, LARGE, "offer"));
    lone.relay(relay, &crossing);
    assert_eq!(lone.accepted.len(), accepted);
    let offers = offers(&lone, relay);
    assert_eq!(offers.len(), 2, "the control channel may not deliver the first one");
    assert_eq!(offers[0]["description"], offers[1]["description"]);
}

#[test]
fn same_offer_is_repeated_until_its_first_answer() {
    let (mut lone, _, relay) = interrupted(LARGE);
    lone.advance(seconds(3));
    let offers = offers(&lone, relay);
    assert_eq!(offers.len(), 2);
    assert_eq!(offers[0]["description"], offers[1]["description"]);
    let (accepted, answer) = (lone.accepted.len(), relayed(&lone, LARGE, "answer"));
    lone.relay(relay, &answer);
    lone.relay(relay, &answer);
    assert_eq!(lone.accepted.len(), accepted + 1);
}

#[test]
fn interruption_ends_with_any_message_while_ice_is_connected() {
    let messages: [fn(&mut Lone, ConnectionId); 3] = [
        |lone, id| lone.receive(id, &json!({ "pong": 0 })),
        |lone, id| lone.mesh.data_message(id, None, false, &[2], lone.now),
        |lone, id| lone.mesh.ignored_message(id, lone.now),
    ];
    for message in messages {
        let (mut lone, connection, relay) = with_relay(SMALL);
        lone.advance(seconds(3)); // a ping is unanswered
        let (accepted, offer) = (lone.accepted.len(), relayed(&lone, SMALL, "offer"));
        lone.relay(relay, &offer);
        assert_eq!(lone.accepted.len(), accepted + 1);
        for _ in 0..20 {
            message(&mut lone, connection);
            lone.receive(relay, &json!({ "pong": 0 }));
            lone.advance(seconds(1));
        }
        assert_eq!(lone.left(), []);
    }
}

#[test]
fn messages_do_not_end_an_interruption_while_ice_is_disconnected() {
    let (mut lone, connection, relay) = interrupted(LARGE);
    for _ in 0..20 {
        lone.receive(connection, &json!({ "pong": 0 }));
        lone.receive(relay, &json!({ "pong": 0 }));
        lone.advance(seconds(1));
    }
    assert_eq!(lone.left(), [(LARGE, LeaveReason::Lost)]);
}

#[test]
fn lost_pings_restart_ice_at_once_if_it_is_disconnected() {
    // Without a common neighbour, and with version 0, they close the connection.
    for (hello, listed, restarts) in [
        (json!({ "hello": { "v": 1 } }), LARGE, 1),
        (json!({ "hello": { "v": 1 } }), LARGE + 1, 0),
        (json!({ "near": [] }), LARGE, 0),
    ] {
        let mut lone = Lone::new(config());
        let (connection, relay) = (lone.connect(LARGE, 7), lone.join(RELAY, 8));
        lone.receive(connection, &hello);
        lone.receive(relay, &json!({ "near": [[listed, 1]] }));
        for _ in 0..13 {
            lone.advance(seconds(1));
            lone.receive(relay, &json!({ "pong": 0 }));
        }
        assert_eq!(lone.left(), [], "six pings are unanswered, and the next one is not due");
        ice(&mut lone, connection, false);
        lone.advance(seconds(1));
        assert_eq!(lone.left().len(), 1 - restarts, "{hello} {listed}");
        assert_eq!(lone.restarts, restarts);
    }
}

#[test]
fn offers_that_restart_ice_and_travel_through_a_neighbour_say_so() {
    let (mut lone, connection, relay) = interrupted(LARGE);
    lone.advance(seconds(3));
    assert!(offers(&lone, relay).iter().all(|it| it["restart"] == true));
    ice(&mut lone, connection, true);
    assert!(lone.control.iter().all(|(_, message)| message.get("restart").is_none()));

    let (mut lone, connection, relay) = with_relay(SMALL);
    ice(&mut lone, connection, false);
    let offer = relayed(&lone, SMALL, "offer");
    lone.relay(relay, &offer);
    assert_eq!(lone.relayed(relay).last().expect("an answer").get("restart"), None);
    lone.receive(relay, &json!({ "near": [[LARGE, 1]] }));
    assert_eq!(lone.relayed(relay).last().expect("a first offer").get("restart"), None);
}

#[test]
fn restart_of_an_unknown_connection_is_gone() {
    let (mut lone, _, relay) = with_relay(LARGE);
    let own = lone.mesh.id();
    let accepted = lone.accepted.len();
    let mut offer = offer_to(own, LARGE + 1, 5, 9);
    offer["restart"] = json!("true");
    lone.relay(relay, &offer);
    assert!(lone.relayed(relay).is_empty(), "an invalid signal is ignored");
    offer["restart"] = json!(true);
    lone.relay(relay, &offer);
    let gone = json!({ "from": own, "to": LARGE + 1, "negotiationId": 5, "reject": "gone" });
    assert_eq!(lone.relayed(relay), [&gone]);
    assert_eq!(lone.accepted.len(), accepted);
    offer["restart"] = json!(false);
    lone.relay(relay, &offer);
    assert_eq!(lone.accepted.len(), accepted + 1);
}

#[test]
fn reject_of_a_restart_does_not_close_the_connection() {
    let (mut lone, _, relay) = interrupted(LARGE);
    let gone = json!({ "from": LARGE, "to": lone.mesh.id(), "negotiationId": LARGE, "reject": "gone" });
    lone.relay(relay, &gone);
    lone.advance(seconds(3));
    assert_eq!(offers(&lone, relay).len(), 2);
    assert_eq!(lone.left(), []);
}

/// With this version in the line `o=`.
fn versioned(mut value: Value, version: &str) -> Value {
    let description = &mut value["description"];
    let sdp = description["sdp"].as_str().expect("a description").to_owned();
    description["sdp"] = json!(format!("o=- 7 {version} IN IP4 127.0.0.1\r\n{sdp}"));
    value
}

#[test]
fn old_media_offer_that_the_control_channel_delivers_after_a_restart_is_ignored() {
    let (mut lone, connection, relay) = with_relay(LARGE);
    lone.receive(connection, &versioned(description("offer"), "3"));
    ice(&mut lone, connection, false);
    let (accepted, restart) = (lone.accepted.len(), versioned(relayed(&lone, LARGE, "offer"), "5"));
    lone.relay(relay, &restart);
    lone.relay(relay, &restart);
    assert_eq!(lone.accepted.len(), accepted + 2, "the same offer is repeated");
    ice(&mut lone, connection, true);
    lone.receive(connection, &versioned(description("offer"), "4"));
    assert_eq!(lone.accepted.len(), accepted + 2);
    for (version, count) in [("6", 3), ("x", 4), ("5", 4), ("99999999999999999999", 5), ("7", 5)] {
        lone.receive(connection, &versioned(description("offer"), version));
        assert_eq!(lone.accepted.len(), accepted + count, "{version}");
    }
    lone.receive(connection, &description("offer"));
    assert_eq!(lone.accepted.len(), accepted + 6, "it has no version");
}

#[test]
fn old_relayed_descriptions_are_ignored() {
    let (mut lone, connection, relay) = with_relay(SMALL);
    lone.receive(connection, &versioned(description("offer"), "5"));
    ice(&mut lone, connection, false);
    let (accepted, offer) = (lone.accepted.len(), versioned(relayed(&lone, SMALL, "offer"), "4"));
    lone.relay(relay, &offer);
    assert_eq!(lone.accepted.len(), accepted);
    lone.advance(seconds(5));
    assert_eq!(offers(&lone, relay).len(), 1, "the old offer did not begin an interruption");
    for (version, count) in [("4", 0), ("5", 1)] {
        let answer = versioned(relayed(&lone, SMALL, "answer"), version);
        lone.relay(relay, &answer);
        assert_eq!(lone.accepted.len(), accepted + count, "{version}");
    }
}

#[test]
fn ignored_description_does_not_count_as_the_last_one() {
    let (mut lone, connection, relay) = interrupted(LARGE);
    let accepted = lone.accepted.len();
    let crossing = versioned(relayed(&lone, LARGE, "offer"), "9");
    lone.relay(relay, &crossing);
    lone.receive(connection, &versioned(description("offer"), "9"));
    assert_eq!(lone.accepted.len(), accepted, "the own offer has no answer");
    lone.receive(connection, &versioned(description("answer"), "8"));
    assert_eq!(lone.accepted.len(), accepted + 1);
}

#[test]
fn relayed_description_that_the_engine_cannot_use_changes_nothing() {
    for has_offer in [true, false] {
        let (mut lone, connection, relay) = interrupted(SMALL);
        lone.unusable = Some(has_offer);
        for kind in ["answer", "offer"] {
            let (accepted, unusable) = (lone.accepted.len(), versioned(relayed(&lone, SMALL, kind), "9"));
            lone.relay(relay, &unusable);
            assert_eq!(lone.accepted.len(), accepted + 1);
        }
        assert_eq!((lone.left(), lone.restarts), (vec![], 1));
        lone.unusable = None;
        lone.advance(seconds(3));
        assert_eq!(offers(&lone, relay).len(), 2, "it still restarts ICE itself");
        assert_eq!(lone.restarts, if has_offer { 1 } else { 2 }, "the same offer, if it can be answered");
        let (accepted, answer) = (lone.accepted.len(), versioned(relayed(&lone, SMALL, "answer"), "2"));
        lone.relay(relay, &answer);
        assert_eq!(lone.accepted.len(), accepted + 1, "9 was not the version of the last description");
        ice(&mut lone, connection, true);
        lone.advance(seconds(10));
        assert_eq!(lone.left(), []);
    }
}

#[test]
fn description_of_the_control_channel_that_the_engine_cannot_use_closes_the_connection() {
    let mut lone = Lone::new(config());
    let connection = lone.join(SMALL, 7);
    lone.unusable = Some(false);
    lone.receive(connection, &description("offer"));
    assert_eq!(lone.left(), [(SMALL, LeaveReason::Lost)]);
}
