//! One test for each rule of `clients/MESH.md` that a single peer can break, against one mesh.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigver::client::Remote;
use sigver::protocol::LinkId;

use super::harness::{config, fingerprint, sdp};
use super::{Action, Config, ConnectionId, Description, HubAction, Kind, Mesh, Reply};
use crate::event::{Event, LeaveReason};
use crate::id::PeerId;

/// A mesh that is the only member of its group, and what it did.
pub(crate) struct Lone {
    pub(crate) mesh: Mesh,
    pub(crate) now: Instant,
    pub(crate) accepted: Vec<ConnectionId>,
    pub(crate) begun: Vec<ConnectionId>,
    pub(crate) closed: Vec<ConnectionId>,
    pub(crate) candidates: usize,
    pub(crate) created: Vec<String>,
    pub(crate) events: Vec<Event>,
    /// Signals to joiners, with the link.
    pub(crate) signals: Vec<Value>,
    pub(crate) ended_links: usize,
    /// Control messages, with their connection.
    pub(crate) control: Vec<(ConnectionId, Value)>,
    next_link: u32,
}

const SMALL: u32 = 1 << 31;
const LARGE: u32 = u32::MAX - 1_000;

impl Lone {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut lone = Self {
            mesh: Mesh::new(config, 1, now),
            now,
            accepted: Vec::new(),
            begun: Vec::new(),
            closed: Vec::new(),
            candidates: 0,
            created: Vec::new(),
            events: Vec::new(),
            signals: Vec::new(),
            ended_links: 0,
            control: Vec::new(),
            next_link: 1,
        };
        lone.mesh.hub_opened(now);
        lone.mesh.hub_connected(true, now);
        lone.settle();
        lone
    }

    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.mesh.poll_action() {
            match action {
                Action::Connect { connection, offer } => {
                    if offer {
                        self.begun.push(connection);
                        let offer = Description { kind: Kind::Offer, sdp: sdp(1) };
                        self.mesh.local_description(connection, offer, Reply::Route, self.now);
                    }
                }
                Action::Accept { connection, description, reply } => {
                    self.accepted.push(connection);
                    if description.kind == Kind::Offer {
                        let answer = Description { kind: Kind::Answer, sdp: sdp(1) };
                        self.mesh.local_description(connection, answer, reply, self.now);
                    }
                }
                Action::AddCandidate { .. } => self.candidates += 1,
                Action::SendControl { connection, text } => {
                    self.control.push((connection, serde_json::from_str(&text).expect("JSON")));
                }
                Action::Joined { create, .. } => self.created.extend(create),
                Action::Close { connection } => self.closed.push(connection),
                Action::Event(event) => self.events.push(event),
                Action::Hub(HubAction::Content { data, last, .. }) => {
                    self.ended_links += usize::from(last);
                    if !data.is_empty() {
                        self.signals.push(serde_json::from_slice(&data).expect("JSON"));
                    }
                }
                Action::Hub(_) | Action::RestartIce { .. } => {}
            }
        }
    }

    /// A signal arrives over a new link of the hub. Returns the link.
    pub(crate) fn joiner(&mut self, signal: &Value) -> u32 {
        self.next_link += 1;
        self.joiner_again(self.next_link, signal);
        self.next_link
    }

    fn joiner_again(&mut self, link: u32, signal: &Value) {
        let from = Remote::Joiner(LinkId::new(link).expect("31 bits"));
        self.mesh.hub_content(from, link, signal.to_string().as_bytes(), self.now);
        self.settle();
    }

    fn end(&mut self, link: u32) {
        self.mesh.hub_ended(Remote::Joiner(LinkId::new(link).expect("31 bits")), link, self.now);
        self.settle();
    }

    /// A peer connects over the hub. Returns its connection.
    pub(crate) fn connect(&mut self, id: u32, byte: u8) -> ConnectionId {
        self.joiner(&offer(id, id, byte));
        let connection = *self.accepted.last().expect("the offer is answered");
        self.mesh.opened(connection, self.now);
        self.settle();
        connection
    }

    /// As `connect`, and the peer introduces itself.
    pub(crate) fn join(&mut self, id: u32, byte: u8) -> ConnectionId {
        let connection = self.connect(id, byte);
        self.receive(connection, &json!({ "hello": { "v": 1 } }));
        connection
    }

    pub(crate) fn receive(&mut self, connection: ConnectionId, message: &Value) {
        self.receive_text(connection, &message.to_string());
    }

    fn receive_text(&mut self, connection: ConnectionId, text: &str) {
        self.mesh.control_message(connection, false, text.as_bytes(), self.now);
        self.settle();
    }

    fn relay(&mut self, through: ConnectionId, signal: &Value) {
        self.receive(through, &json!({ "relay": signal }));
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.mesh.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.mesh.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn last_reject(&self) -> Option<&str> {
        self.signals.last()?["reject"].as_str()
    }

    /// What it sent through this neighbour.
    fn relayed(&self, through: ConnectionId) -> Vec<&Value> {
        self.control.iter().filter(|(id, _)| *id == through).filter_map(|(_, message)| message.get("relay")).collect()
    }

    fn left(&self) -> Vec<(u32, LeaveReason)> {
        let leave = |event: &Event| match event {
            Event::PeerLeave { peer: PeerId(peer), reason } => Some((*peer, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(leave).collect()
    }

    fn joined(&self) -> Vec<u32> {
        let join = |event: &Event| match event {
            Event::PeerJoin { peer: PeerId(peer), .. } => Some(*peer),
            _ => None,
        };
        self.events.iter().filter_map(join).collect()
    }
}

/// An offer to a member whose id the sender does not know. The byte is that of the sender's certificate.
pub(crate) fn offer(from: u32, negotiation_id: u32, byte: u8) -> Value {
    offer_to(0, from, negotiation_id, byte)
}

fn offer_to(to: u32, from: u32, negotiation_id: u32, byte: u8) -> Value {
    let description = json!({ "type": "offer", "sdp": sdp(byte) });
    json!({ "from": from, "to": to, "negotiationId": negotiation_id, "members": [], "description": description })
}

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
fn rejects_and_unknown_signals_are_not_answered() {
    let mut lone = Lone::new(config());
    lone.joiner(&json!({ "from": SMALL, "to": 0, "negotiationId": 1, "reject": "busy" }));
    lone.joiner(&json!({ "from": SMALL, "to": 0, "negotiationId": 1, "candidate": { "candidate": "" } }));
    assert_eq!((lone.signals.len(), lone.ended_links), (0, 0));
    let link = lone.joiner(&offer(SMALL, 1, 7));
    lone.joiner_again(link, &json!({ "from": SMALL, "to": 0, "negotiationId": 1, "reject": "left" }));
    assert_eq!(lone.closed, lone.accepted);
    assert_eq!((lone.signals.len(), lone.ended_links), (1, 1), "the answer, and the end of the link");
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

#[test]
fn invalid_control_messages_close() {
    let mut lone = Lone::new(config());
    let binary = lone.join(SMALL, 7);
    lone.mesh.control_message(binary, true, b"{}", lone.now);
    lone.settle();
    let long = lone.join(SMALL + 1, 8);
    lone.receive_text(long, &"x".repeat(65_537));
    let kept = lone.join(SMALL + 2, 9);
    lone.receive_text(kept, &"é".repeat(65_536));
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
