//! Property tests: no input from other peers or from the hub makes a mesh panic, spin, or exceed its limits.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use sigver::client::Remote;
use sigver::protocol::LinkId;

use crate::event::Close;
use crate::mesh::limits::{MAX_ANSWERING, MAX_DISCOVERING, MIN_JOINER_SLOTS};
use crate::mesh::testing::{Lone, config, sdp};
use crate::mesh::{Config, ConnectionId};

#[derive(Debug, Clone)]
enum Input {
    /// A signal over the hub, from the member or over a link.
    Hub {
        link: u32,
        member: bool,
        signal: Value,
    },
    HubEnded {
        link: u32,
        member: bool,
    },
    HubAnswer(bool),
    HubClosed(u16),
    HubOpened,
    Opened(u64),
    Failed(u64),
    Ice(u64, bool),
    Control(u64, String),
    Data(u64, Vec<u8>),
    Channel(u64, Vec<u8>),
    Advance(u64),
}

/// A few ids, so that they meet each other. 0: the mesh's own id.
fn id() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), (1_u32 << 31)..(1 << 31) + 4, u32::MAX - 4..=u32::MAX]
}

fn signal() -> impl Strategy<Value = Value> {
    let body = prop_oneof![
        (any::<bool>(), 0..4_u8).prop_map(|(offer, byte)| {
            let sdp = if byte == 0 { "v=0".to_owned() } else { sdp(byte) };
            json!({ "description": { "type": if offer { "offer" } else { "answer" }, "sdp": sdp } })
        }),
        (1..4_u8).prop_map(|byte| json!({ "description": { "type": "offer", "sdp": sdp(byte) }, "restart": true })),
        Just(json!({ "candidate": { "candidate": "candidate:1" } })),
        prop_oneof![Just("same-id"), Just("glare"), Just("gone"), Just("nonsense")]
            .prop_map(|it| json!({ "reject": it })),
    ];
    (id(), id(), 0..6_u32, prop::collection::vec(id(), 0..3), body).prop_map(
        |(from, to, negotiation_id, members, mut signal)| {
            signal["from"] = json!(from);
            signal["to"] = json!(to);
            signal["negotiationId"] = json!(negotiation_id);
            signal["members"] = json!(members);
            signal
        },
    )
}

fn control() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => signal().prop_map(|signal| json!({ "relay": signal }).to_string()),
        2 => prop::collection::vec(id(), 0..12).prop_map(|ids| {
            json!({ "near": ids.iter().map(|id| json!([id, 1])).collect::<Vec<_>>() }).to_string()
        }),
        1 => Just(json!({ "hello": { "v": 1, "metadata": {}, "channels": ["a"] } }).to_string()),
        1 => any::<f64>().prop_map(|it| json!({ "pong": it }).to_string()),
        1 => any::<f64>().prop_map(|it| json!({ "ping": it }).to_string()),
        1 => Just(json!({ "bye": true }).to_string()),
        1 => (prop_oneof![Just("offer"), Just("answer")], 0..3_u8).prop_map(|(kind, byte)| {
            json!({ "description": { "type": kind, "sdp": sdp(byte) } }).to_string()
        }),
        1 => "[\\x00-\\x7f]{0,20}",
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let connection = || 0..8_u64;
    prop_oneof![
        6 => (1..5_u32, any::<bool>(), signal()).prop_map(|(link, member, signal)| Input::Hub { link, member, signal }),
        1 => (1..5_u32, any::<bool>()).prop_map(|(link, member)| Input::HubEnded { link, member }),
        2 => any::<bool>().prop_map(Input::HubAnswer),
        1 => prop_oneof![Just(1006), Just(4744), Just(1013), Just(4740)].prop_map(Input::HubClosed),
        2 => Just(Input::HubOpened),
        6 => connection().prop_map(Input::Opened),
        1 => connection().prop_map(Input::Failed),
        2 => (connection(), any::<bool>()).prop_map(|(id, connected)| Input::Ice(id, connected)),
        8 => (connection(), control()).prop_map(|(id, text)| Input::Control(id, text)),
        1 => (connection(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(id, data)| Input::Data(id, data)),
        1 => (connection(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(id, data)| Input::Channel(id, data)),
        4 => (0..20_000_u64).prop_map(Input::Advance),
    ]
}

/// Replaces the id 0 by the mesh's own one.
fn with_own_id(mut signal: Value, own: u32) -> Value {
    for key in ["from", "to"] {
        // A joiner may send 0 as the recipient.
        if signal[key] == 0 && (key == "from" || signal["negotiationId"] != 0) {
            signal[key] = json!(own);
        }
    }
    signal
}

fn apply(lone: &mut Lone, input: Input) {
    let now = lone.now;
    let own = lone.mesh.id();
    let remote = |link, member: bool| match LinkId::new(link) {
        Some(link) if !member => Remote::Joiner(link),
        _ => Remote::Member,
    };
    match input {
        Input::Hub { link, member, signal } => {
            let signal = with_own_id(signal, own).to_string();
            lone.mesh.hub_content(remote(link, member), link, signal.as_bytes(), now);
        }
        Input::HubEnded { link, member } => lone.mesh.hub_ended(remote(link, member), link, now),
        Input::HubAnswer(member) => lone.mesh.hub_connected(member, now),
        Input::HubClosed(code) => lone.mesh.hub_closed(Some(Close::new(code, "")), false, now),
        Input::HubOpened => lone.mesh.hub_opened(now),
        Input::Opened(id) => lone.mesh.opened(ConnectionId(id), now),
        Input::Failed(id) => lone.mesh.failed(ConnectionId(id), now),
        Input::Ice(id, connected) => lone.mesh.ice_state(ConnectionId(id), connected, now),
        Input::Control(id, text) => {
            let text = match serde_json::from_str::<Value>(&text) {
                Ok(mut message) if message.get("relay").is_some() => {
                    message["relay"] = with_own_id(message["relay"].take(), own);
                    message.to_string()
                }
                _ => text,
            };
            lone.mesh.control_message(ConnectionId(id), false, text.as_bytes(), now);
        }
        Input::Data(id, data) => lone.mesh.data_message(ConnectionId(id), None, false, &data, now),
        Input::Channel(id, data) => {
            lone.mesh.data_message(ConnectionId(id), Some(&"a".into()), true, &data, now);
        }
        Input::Advance(milliseconds) => lone.advance(Duration::from_millis(milliseconds)),
    }
    lone.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_a_mesh_panic_or_exceed_its_limits(inputs in prop::collection::vec(input(), 0..150)) {
        let mut lone = Lone::new(Config { max_peers: 5, channels: vec!["a".to_owned()], ..config() });
        for input in inputs {
            apply(&mut lone, input);
            let pending = lone.mesh.connections.values().filter(|it| !it.is_open()).count();
            prop_assert!(pending <= MAX_ANSWERING + MIN_JOINER_SLOTS + MAX_DISCOVERING + 1);
            let open: Vec<_> = lone.mesh.connections.values().filter(|it| it.is_open()).map(|it| it.peer).collect();
            prop_assert_eq!(open.len(), lone.mesh.neighbours.len(), "one connection for each neighbour");
            prop_assert!(!open.contains(&lone.mesh.id()) && !open.contains(&0));
            prop_assert!(lone.mesh.links.values().all(|id| lone.mesh.connections.contains_key(id)));
        }
        // The clock does not stand still.
        let end = lone.now + Duration::from_secs(100);
        lone.advance(Duration::from_secs(100));
        prop_assert_eq!(lone.now, end);
    }
}
