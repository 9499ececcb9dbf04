//! Checks the test oracles on random input. CI runs few cases; for more, run
//! `PROPTEST_CASES=100000 cargo test --features full --test properties`.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sigver::protocol::{GroupKey, MemberId, Message};

mod oracle;
use oracle::group::{History, Step};
use oracle::key::encode;
// For the source of the records, which the oracle includes by path.
#[cfg(feature = "cluster")]
use sigver::protocol;

/// The number of peers in a busy group. Some of them share a member id.
const PEERS: u8 = 12;

fn message() -> impl Strategy<Value = Message> {
    let content = (any::<u32>(), any::<u32>(), any::<bool>(), vec(any::<u8>(), 0..200))
        .prop_map(|(sender, recipient, last, data)| Message::Content { sender, recipient, last, data: data.into() });
    let connect = (any::<u32>(), vec(any::<u32>(), 0..40)).prop_map(|(id, members)| Message::Connect {
        id: MemberId(id),
        members: members.into_iter().map(MemberId).collect(),
    });
    prop_oneof![Just(Message::Heartbeat), any::<bool>().prop_map(Message::Connected), content, connect]
}

/// An encoded message with one byte changed, removed or inserted, or truncated.
fn damaged_message() -> impl Strategy<Value = Bytes> {
    (message(), any::<prop::sample::Index>(), any::<u8>(), 0..5).prop_map(|(message, at, byte, change)| {
        let mut bytes = message.encode().to_vec();
        let at = at.index(bytes.len());
        match change {
            0 => bytes[at] = byte,
            1 => _ = bytes.remove(at),
            2 => bytes.insert(at, byte),
            3 => bytes.truncate(at),
            _ => {}
        }
        bytes.into()
    })
}

/// Text with many percent-escapes, some of it near the maximum length of a key.
fn key_like_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[%0-9a-fé+/x]{0,20}",
        "(%[0-7][0-9A-Fa-f]|[a-z/]){0,20}",
        "(%[0-7][0-9a-f]){505,520}",
        "[a-z]{508,516}",
        "[aé]{250,520}",
        "[%a0]{1530,1545}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["key", "%6bey", "keys", "favored", "f%61vored", "favoredx", "x", "%", ""]);
    let pair = (name, prop::option::of("[%0-9a-f+=]{0,8}"));
    let pair = pair.prop_map(|(name, value)| value.map_or(name.to_owned(), |value| format!("{name}={value}")));
    vec(pair, 0..5).prop_map(|pairs| pairs.join("&"))
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0..PEERS;
    // Fewer ids than peers, and the same small numbers as those of links.
    let id = || 0..PEERS - 2;
    prop_oneof![
        4 => (peer(), any::<bool>()).prop_map(|(peer, favored)| Step::Join { peer, favored }),
        6 => (peer(), id(), vec(id(), 0..3)).prop_map(|(peer, id, members)| Step::Connect { peer, id, members }),
        6 => (peer(), prop_oneof![Just(0), 0..2 * PEERS], prop::bool::weighted(0.2))
            .prop_map(|(peer, recipient, last)| Step::Content { peer, recipient, last }),
        1 => peer().prop_map(|peer| Step::Leave { peer }),
    ]
}

/// Bytes that resemble a response to a handshake, and frames after it.
#[cfg(feature = "client")]
fn response() -> impl Strategy<Value = Vec<u8>> {
    let status =
        prop::sample::select(vec!["1.1 101 A", "1.1 101 A", "1.1 103 B", "1.1 401 C", "1.0 503 D", "1.1 200 E"]);
    let line = prop::sample::select(vec![
        "Transfer-Encoding: chunked",
        "Content-Length: 7",
        "Content-Type: text/html",
        "Sec-WebSocket-Protocol: x",
        "Retry-After: 9",
    ]);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n";
    let head = (status, prop::bool::weighted(0.8), vec(line, 0..2)).prop_map(move |(status, accepts, lines)| {
        let upgrade = if accepts { upgrade } else { "" };
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        format!("HTTP/{status}\r\n{upgrade}{lines}\r\n").into_bytes()
    });
    let frame = (prop::sample::select(vec![0x82, 0x82, 0x81, 0x88, 0x89, 0x8a, 0x02, 0x00, 0x80]), damaged_message());
    let frame = frame.prop_map(|(first, payload)| [&[first, payload.len().min(125) as u8], &payload[..]].concat());
    let chunk = "[0-9a-f]{1,3}(;x)?\r\n[a-z]{0,9}\r\n".prop_map(String::into_bytes);
    let piece = prop_oneof![frame, chunk, vec(any::<u8>(), 0..40)];
    (vec(head, 0..3), vec(piece, 0..9)).prop_map(|(heads, pieces)| [heads.concat(), pieces.concat()].concat())
}

/// A configuration file with known settings, and with values that rarely fit them.
#[cfg(feature = "cli")]
fn config_like_text() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[0-9]{1,20} ?(B|KiB|MiB|GiB|kb)", "([0-9]{1,20}(ms|s|m|h|d|y) ?){1,3}", "\\PC{0,12}"];
    let text = prop_oneof![text, "https?://(\\*\\.)?[a-z.]{1,9}(:[0-9]{1,6})?", "[0-9a-f:.]{1,15}(/[0-9]{1,3})?"];
    let value = prop_oneof![
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (0..100_000_u32).prop_map(|number| number.to_string()),
        1 => any::<bool>().prop_map(|value| value.to_string()),
        5 => text.clone().prop_map(|text| format!("{text:?}")),
        1 => vec(text, 0..3).prop_map(|texts| format!("{texts:?}")),
        1 => "\\PC{0,9}",
    ];
    let line = (prop::sample::select(oracle::config::settings::Settings::NAMES), value)
        .prop_map(|(name, value)| format!("{name} = {value}\n"));
    vec(line, 0..4).prop_map(|lines| lines.concat())
}

proptest! {
    // Proptest prints the smallest failing input. Add it as a named test instead of a regression file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_pass_every_oracle(bytes in vec(any::<u8>(), 0..600)) {
        oracle::wire::check(&bytes);
        oracle::session::check(&bytes);
        oracle::group::check(&bytes);
        oracle::key::check(&bytes);
        oracle::url::check(&bytes);
        #[cfg(feature = "cluster")]
        oracle::records::check(&bytes);
        #[cfg(feature = "client")]
        oracle::response::check(&bytes);
    }

    #[test]
    fn message_is_unchanged_after_encoding_and_decoding(message in message()) {
        let bytes = message.clone().encode();
        prop_assert_eq!(Message::decode(bytes.clone()), Ok(message));
        oracle::wire::check(&bytes);
    }

    #[test]
    fn damaged_message_that_decodes_is_unchanged_after_encoding(bytes in damaged_message()) {
        oracle::wire::check(&bytes);
    }

    #[test]
    fn session_returns_the_requests_in_its_messages(
        max_missed in 1..5_u8,
        max_members in 0..30_u8,
        messages in vec(prop::option::weighted(0.7, damaged_message()), 0..30),
    ) {
        let mut bytes = vec![max_missed, max_members];
        for message in messages {
            match message {
                Some(message) if message.len() < 255 => {
                    bytes.push(message.len() as u8);
                    bytes.extend(message);
                }
                _ => bytes.push(255),
            }
        }
        oracle::session::check(&bytes);
    }

    #[test]
    fn group_of_many_peers_behaves_like_the_naive_model(steps in vec(step(), 0..200)) {
        let mut history = History::default();
        steps.into_iter().for_each(|step| history.step(step));
        history.end();
    }

    #[test]
    fn key_like_text_is_decoded_as_the_oracle_decodes_it(text in key_like_text()) {
        oracle::key::check(text.as_bytes());
    }

    #[test]
    fn percent_encoded_key_equals_the_key(text in "\\PC{0,300}") {
        prop_assert_eq!(GroupKey::from_percent_encoded(&encode(&text)), GroupKey::new(&text));
    }

    #[test]
    fn url_like_text_is_read_as_the_oracle_reads_it(tail in key_like_text(), query in query()) {
        oracle::url::check(format!("{tail}?{query}").as_bytes());
        oracle::url::check(format!("?{query}").as_bytes());
    }

    #[cfg(feature = "client")]
    #[test]
    fn client_ends_with_an_error_after_any_response(bytes in response()) {
        oracle::response::check(&bytes);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn config_like_text_is_parsed_or_rejected_with_a_position(file in config_like_text()) {
        oracle::config::check(file.as_bytes());
    }
}
