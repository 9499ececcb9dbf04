//! Attempts, against one mesh: one test for each rule of `clients/MESH.md` that a single peer can break.

use std::time::Duration;

use serde_json::json;
use sigver::client::Remote;

use crate::event::LeaveReason;
use crate::mesh::testing::{LARGE, Lone, SMALL, config, fingerprint, offer, offer_to, sdp};
use crate::mesh::{Config, ConnectionId};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn offer_with_an_owned_id_and_another_certificate_is_rejected() {
    let mut lone = Lone::new(config());
    let owner = lone.join(SMALL, 7);
    lone.advance(seconds(9));
    lone.joiner(&offer(SMALL, 99, 8));
    assert_eq!(lone.last_reject(), Some("same-id"));
    // Also after the owner has left.
    lone.receive(owner, &json!({ "bye": true }));
    lone.joiner(&offer(SMALL, 100, 8));
    assert_eq!(lone.last_reject(), Some("same-id"));
    let own = lone.mesh.id();
    lone.joiner(&offer(own, 101, 8));
    assert_eq!(lone.last_reject(), Some("same-id"));
}

#[test]
fn copied_fingerprint_replaces_nothing_until_the_connection_opens() {
    let mut lone = Lone::new(config());
    let first = lone.join(SMALL, 7);
    lone.advance(seconds(6));
    lone.joiner(&offer(SMALL, 99, 7));
    let second = *lone.accepted.last().expect("answered");
    assert!(lone.closed.is_empty());
    lone.mesh.opened(second, lone.now);
    lone.settle();
    assert_eq!(lone.closed, [first]);
    assert_eq!(lone.left(), [(SMALL, LeaveReason::Replaced)]);
}

#[test]
fn connection_that_would_open_with_an_owned_id_closes() {
    let mut lone = Lone::new(config());
    lone.joiner(&offer(SMALL, 1, 7));
    let impostor = lone.accepted[0];
    lone.mesh.known.insert(SMALL, fingerprint(8));
    lone.mesh.opened(impostor, lone.now);
    lone.settle();
    assert_eq!(lone.closed, [impostor]);
    assert_eq!(lone.last_reject(), Some("same-id"));
}

#[test]
fn description_without_a_fingerprint_is_rejected_as_invalid() {
    let mut lone = Lone::new(config());
    let mut signal = offer(SMALL, 1, 7);
    signal["description"]["sdp"] = json!("v=0\r\n");
    lone.joiner(&signal);
    assert_eq!(lone.last_reject(), Some("invalid"));
    assert!(lone.accepted.is_empty());
    // The signal proves nothing about its sender.
    lone.joiner(&offer(SMALL, 2, 7));
    assert_eq!(lone.accepted.len(), 1);
}

#[test]
fn renegotiation_with_another_fingerprint_closes() {
    let mut lone = Lone::new(config());
    let connection = lone.join(SMALL, 7);
    let description = |byte| json!({ "description": { "type": "offer", "sdp": sdp(byte) } });
    lone.receive(connection, &description(7));
    assert!(lone.control.iter().any(|(_, message)| message["description"]["type"] == "answer"));
    lone.receive(connection, &description(8));
    assert_eq!(lone.left(), [(SMALL, LeaveReason::Invalid)]);
}

#[test]
fn rejects_without_an_attempt_and_unknown_signals_are_not_answered() {
    let mut lone = Lone::new(config());
    lone.joiner(&json!({ "from": SMALL, "to": 0, "negotiationId": 1, "reject": "busy" }));
    lone.joiner(&json!({ "from": SMALL, "to": 0, "negotiationId": 1, "candidate": { "candidate": "" } }));
    assert_eq!((lone.signals.len(), lone.ended_links), (0, 0));
    let link = lone.joiner(&offer(SMALL, 1, 7));
    lone.joiner_again(link, &json!({ "from": SMALL, "to": 0, "negotiationId": 1, "reject": "left" }));
    assert_eq!(lone.closed, lone.accepted);
    assert_eq!((lone.signals.len(), lone.ended_links), (2, 1), "the answer, and the end of the link");
    assert_eq!(lone.last_reject(), Some("left"), "empty content would end the next attempt of the joiner");
    assert!(lone.mesh.links.is_empty());
}

#[test]
fn reject_through_a_neighbour_is_not_answered() {
    let mut lone = Lone::new(config());
    let (own, neighbour) = (lone.mesh.id(), lone.join(SMALL, 7));
    lone.relay(neighbour, &offer_to(own, LARGE, 1, 8));
    let sent = lone.relayed(neighbour).len();
    lone.relay(neighbour, &json!({ "from": LARGE, "to": own, "negotiationId": 1, "reject": "left" }));
    assert_eq!(lone.closed.len(), 1);
    assert_eq!(lone.relayed(neighbour).len(), sent);
}

#[test]
fn signals_of_another_peer_do_not_reach_a_connection() {
    let mut lone = Lone::new(config());
    lone.joiner(&offer(SMALL, 1, 7));
    lone.joiner(&json!({ "from": SMALL + 1, "to": 0, "negotiationId": 1, "reject": "left" }));
    let open = lone.join(SMALL + 2, 9);
    lone.joiner(&json!({ "from": SMALL + 2, "to": 0, "negotiationId": SMALL + 2, "reject": "left" }));
    assert!(lone.closed.is_empty(), "{open:?} is open: later signals travel over the control channel");
}

#[test]
fn pending_connections_close_at_their_deadlines() {
    let mut lone = Lone::new(config());
    lone.joiner(&offer(SMALL, 1, 7));
    lone.advance(Duration::from_millis(14_900));
    assert!(lone.closed.is_empty());
    lone.advance(Duration::from_millis(200));
    assert_eq!(lone.last_reject(), Some("ice-failed"));

    let link = lone.joiner(&offer(SMALL, 2, 7));
    lone.end(link);
    lone.advance(Duration::from_millis(2_900));
    assert_eq!(lone.closed.len(), 1);
    lone.advance(Duration::from_millis(200));
    assert_eq!(lone.closed.len(), 2);
    assert_eq!(lone.last_reject(), Some("ended"));

    let link = lone.joiner(&offer(SMALL + 2, 4, 7));
    lone.advance(seconds(14));
    lone.end(link);
    lone.advance(Duration::from_millis(900));
    assert_eq!(lone.closed.len(), 2);
    lone.advance(Duration::from_millis(200));
    assert_eq!(lone.closed.len(), 3, "the 3 s are within the 15 s");
    assert_eq!(lone.last_reject(), Some("ended"));

    let neighbour = lone.join(SMALL + 3, 8);
    lone.receive(neighbour, &json!({ "near": [[LARGE, 1]] }));
    assert_eq!(lone.begun.len(), 1);
    lone.advance(Duration::from_millis(5_100));
    assert_eq!(lone.relayed(neighbour)[1]["reject"], "peer-timeout");
}

#[test]
fn answer_extends_the_deadline_and_a_second_one_is_ignored() {
    let mut lone = Lone::new(config());
    let neighbour = lone.join(SMALL, 8);
    lone.receive(neighbour, &json!({ "near": [[LARGE, 1]] }));
    let sent = lone.relayed(neighbour)[0].clone();
    assert_eq!((sent["from"].clone(), sent["to"].clone()), (json!(lone.mesh.id()), json!(LARGE)));
    let description = json!({ "type": "answer", "sdp": sdp(9) });
    let mut answer = json!({ "from": LARGE, "to": sent["from"], "negotiationId": sent["negotiationId"] });
    answer["description"] = description;
    lone.relay(neighbour, &answer);
    lone.relay(neighbour, &answer);
    assert_eq!(lone.accepted.len(), 2, "the neighbour's offer and the answer");
    lone.advance(seconds(9));
    assert!(lone.closed.is_empty());
}

#[test]
fn candidates_before_the_description_are_kept_up_to_100() {
    let mut lone = Lone::new(config());
    let neighbour = lone.join(SMALL, 8);
    lone.receive(neighbour, &json!({ "near": [[LARGE, 1]] }));
    let sent = lone.relayed(neighbour)[0].clone();
    let mut signal = json!({ "from": LARGE, "to": sent["from"], "negotiationId": sent["negotiationId"] });
    signal["candidate"] = json!({ "candidate": "candidate:x" });
    for _ in 0..150 {
        lone.relay(neighbour, &signal);
    }
    assert_eq!(lone.candidates, 0);
    signal.as_object_mut().expect("an object").remove("candidate");
    signal["description"] = json!({ "type": "answer", "sdp": sdp(9) });
    lone.relay(neighbour, &signal);
    assert_eq!(lone.candidates, 100);
}

#[test]
fn pending_attempts_are_limited_by_neighbour_and_joiners_keep_their_slots() {
    let mut lone = Lone::new(Config { max_peers: 1_000, ..config() });
    let own = lone.mesh.id();
    let neighbours: Vec<_> =
        (0..5).map(|index| lone.join(SMALL + index, 10 + u8::try_from(index).expect("few"))).collect();
    let before = lone.accepted.len();
    for (index, &neighbour) in (0..).zip(&neighbours) {
        for count in 0..20 {
            let id = LARGE + 100 * index + count;
            lone.relay(neighbour, &offer_to(own, id, id, 99));
        }
        assert_eq!(lone.accepted.len() - before, (16 * (usize::try_from(index).expect("few") + 1)).min(64));
    }
    for id in 0..20 {
        lone.joiner(&offer(SMALL + 100 + id, id, 98));
    }
    assert_eq!(lone.accepted.len() - before, 64 + 16);
    assert_eq!(lone.last_reject(), Some("busy"));
}

#[test]
fn offers_relayed_by_one_neighbour_have_a_rate() {
    let mut lone = Lone::new(Config { max_peers: 1_000, ..config() });
    let (own, neighbour) = (lone.mesh.id(), lone.join(SMALL, 7));
    for id in LARGE..LARGE + 40 {
        lone.relay(neighbour, &offer_to(own, id, id, 99));
        lone.relay(neighbour, &json!({ "from": id, "to": own, "negotiationId": id, "reject": "left" }));
    }
    let rejects = lone.relayed(neighbour).iter().filter(|signal| signal["reject"] == "busy").count();
    assert_eq!(rejects, 40 - 32);
}

/// The other peer answers the last offer that was sent through a neighbour, and the connection opens.
fn open_discovered(lone: &mut Lone, through: ConnectionId) -> ConnectionId {
    let offer = lone.relayed(through).last().copied().cloned().expect("an offer");
    let mut answer = json!({ "from": offer["to"], "to": offer["from"], "negotiationId": offer["negotiationId"] });
    answer["description"] = json!({ "type": "answer", "sdp": sdp(9) });
    lone.relay(through, &answer);
    let connection = *lone.begun.last().expect("an attempt");
    lone.mesh.opened(connection, lone.now);
    lone.settle();
    connection
}

#[test]
fn own_attempts_do_not_exceed_the_maximum() {
    let mut lone = Lone::new(Config { max_peers: 3, ..config() });
    let neighbour = lone.join(SMALL, 8);
    lone.receive(neighbour, &json!({ "near": [[LARGE, 1], [LARGE + 1, 1], [LARGE + 2, 1], [LARGE + 3, 1]] }));
    assert_eq!(lone.begun.len(), 2, "one neighbour and two pending attempts");
    let sent = lone.relayed(neighbour)[0].clone();
    let gone =
        json!({ "from": sent["to"], "to": sent["from"], "negotiationId": sent["negotiationId"], "reject": "gone" });
    lone.relay(neighbour, &gone);
    assert_eq!(lone.begun.len(), 3, "a failed attempt makes room");
}

#[test]
fn own_attempt_that_opens_beyond_the_maximum_closes_with_full_and_an_answered_one_stays() {
    for own_first in [true, false] {
        let mut lone = Lone::new(Config { max_peers: 2, ..config() });
        let neighbour = lone.join(SMALL, 8);
        lone.receive(neighbour, &json!({ "near": [[LARGE, 1]] }));
        lone.joiner(&offer(SMALL + 1, 1, 7));
        let answered = *lone.accepted.last().expect("answered");
        if own_first {
            open_discovered(&mut lone, neighbour);
            lone.mesh.opened(answered, lone.now);
            lone.settle();
            assert_eq!((lone.mesh.neighbours.len(), &lone.closed), (3, &vec![]));
        } else {
            lone.mesh.opened(answered, lone.now);
            lone.settle();
            let own = open_discovered(&mut lone, neighbour);
            let last = lone.relayed(neighbour).last().copied().cloned().expect("a reject");
            assert_eq!((last["reject"].as_str(), &lone.closed), (Some("full"), &vec![own]));
            assert_eq!(lone.mesh.neighbours.len(), 2);
        }
    }
}

#[test]
fn connection_that_replaces_another_one_opens_at_the_maximum() {
    let mut lone = Lone::new(Config { max_peers: 1, ..config() });
    let first = lone.join(SMALL, 7);
    lone.advance(seconds(6));
    lone.joiner(&offer(SMALL, 99, 7));
    let second = *lone.accepted.last().expect("answered");
    lone.mesh.opened(second, lone.now);
    lone.settle();
    assert_eq!(lone.closed, [first]);
    assert_eq!(lone.mesh.connection_to(SMALL), Some(second));
}

#[test]
fn member_that_the_hub_selected_may_be_one_peer_too_many() {
    let mut lone = Lone::new(Config { max_peers: 1, ..config() });
    lone.join(SMALL, 7);
    lone.mesh.hub_closed(None, false, lone.now);
    lone.advance(seconds(1));
    lone.mesh.hub_opened(lone.now);
    lone.mesh.hub_connected(false, lone.now);
    lone.settle();
    let bound = *lone.begun.last().expect("an attempt");
    let mut answer = lone.signals.last().expect("an offer").clone();
    answer["from"] = json!(LARGE);
    answer["description"] = json!({ "type": "answer", "sdp": sdp(9) });
    lone.mesh.hub_content(Remote::Member, 5, answer.to_string().as_bytes(), lone.now);
    lone.mesh.opened(bound, lone.now);
    lone.settle();
    assert_eq!(lone.mesh.neighbours.len(), 2, "otherwise two halves of a full group would never merge");
}

#[test]
fn peer_whose_app_does_not_receive_rejects_with_busy() {
    let mut lone = Lone::new(config());
    lone.joiner(&offer(SMALL, 1, 7));
    lone.mesh.pause(true);
    lone.joiner(&offer(SMALL + 1, 2, 8));
    assert_eq!(lone.last_reject(), Some("busy"));
    lone.mesh.opened(lone.accepted[0], lone.now);
    lone.settle();
    assert_eq!((lone.last_reject(), lone.closed.len()), (Some("busy"), 1));
}

#[test]
fn peer_whose_app_does_not_receive_rejects_offers_of_known_peers_too() {
    let mut lone = Lone::new(config());
    let open = lone.join(SMALL, 7);
    lone.joiner(&offer(SMALL + 1, 1, 8));
    let accepted = lone.accepted.len();
    lone.advance(seconds(6));
    lone.mesh.pause(true);
    // A connection that replaces another one would cause two more events.
    lone.joiner(&offer(SMALL, 99, 7));
    assert_eq!(lone.last_reject(), Some("busy"));
    lone.joiner(&offer(SMALL + 1, 2, 8));
    assert_eq!((lone.last_reject(), lone.accepted.len()), (Some("busy"), accepted));
    assert_eq!(lone.mesh.connection_to(SMALL), Some(open));
    lone.mesh.pause(false);
    lone.joiner(&offer(SMALL, 100, 7));
    assert_eq!(lone.accepted.len(), accepted + 1);
}
