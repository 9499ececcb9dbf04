//! Random input keeps the rules. `PROPTEST_CASES=100000 cargo test --features full --test properties` looks
//! longer than CI does.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sigver::protocol::{GroupKey, MemberId, Message};

mod rules;
use rules::group::{History, Step};
use rules::key::escaped;

/// As many as meet in a busy group, and some of them by the same id.
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

/// A message with a byte changed, left out or put in, or cut short.
fn almost_a_message() -> impl Strategy<Value = Bytes> {
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

/// Text that has much to do with escapes, some of it about as long as a key may be.
fn almost_a_key() -> impl Strategy<Value = String> {
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
    // Some peers share an id, and links have the same small numbers.
    let id = || 0..PEERS - 2;
    prop_oneof![
        4 => (peer(), any::<bool>()).prop_map(|(peer, favored)| Step::Join { peer, favored }),
        6 => (peer(), id(), vec(id(), 0..3)).prop_map(|(peer, id, members)| Step::Connect { peer, id, members }),
        6 => (peer(), prop_oneof![Just(0), 0..2 * PEERS], prop::bool::weighted(0.2))
            .prop_map(|(peer, recipient, last)| Step::Content { peer, recipient, last }),
        1 => peer().prop_map(|peer| Step::Leave { peer }),
    ]
}

/// A file with some of the settings, and with values that are seldom theirs.
#[cfg(feature = "cli")]
fn almost_a_file() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[0-9]{1,20} ?(B|KiB|MiB|GiB|kb)", "([0-9]{1,20}(ms|s|m|h|d|y) ?){1,3}", "\\PC{0,12}"];
    let text = prop_oneof![text, "https?://(\\*\\.)?[a-z.]{1,9}(:[0-9]{1,6})?", "[0-9a-f:.]{1,15}(/[0-9]{1,3})?"];
    let value = prop_oneof![
        2 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (0..100_000_u32).prop_map(|number| number.to_string()),
        1 => any::<bool>().prop_map(|truth| truth.to_string()),
        5 => text.clone().prop_map(|text| format!("{text:?}")),
        1 => vec(text, 0..3).prop_map(|texts| format!("{texts:?}")),
        1 => "\\PC{0,9}",
    ];
    let line = (prop::sample::select(rules::config::settings::Settings::names()), value)
        .prop_map(|(name, value)| format!("{name} = {value}\n"));
    vec(line, 0..4).prop_map(|lines| lines.concat())
}

proptest! {
    // A failure is shown by its smallest input, which belongs into a test with a name.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..600)) {
        rules::wire::check(&bytes);
        rules::session::check(&bytes);
        rules::group::check(&bytes);
        rules::key::check(&bytes);
        rules::url::check(&bytes);
    }

    #[test]
    fn a_message_survives_the_way_to_bytes_and_back(message in message()) {
        let bytes = message.clone().encode();
        prop_assert_eq!(Message::decode(bytes.clone()), Ok(message));
        rules::wire::check(&bytes);
    }

    #[test]
    fn what_is_almost_a_message_is_read_or_refused(bytes in almost_a_message()) {
        rules::wire::check(&bytes);
    }

    #[test]
    fn a_session_asks_for_what_its_messages_say(
        missed_limit in 1..5_u8,
        members_limit in 0..30_u8,
        messages in vec(prop::option::weighted(0.7, almost_a_message()), 0..30),
    ) {
        let mut bytes = vec![missed_limit, members_limit];
        for message in messages {
            match message {
                Some(message) if message.len() < 255 => {
                    bytes.push(message.len() as u8);
                    bytes.extend(message);
                }
                _ => bytes.push(255),
            }
        }
        rules::session::check(&bytes);
    }

    #[test]
    fn a_group_of_many_peers_does_what_the_protocol_says(steps in vec(step(), 0..200)) {
        let mut history = History::default();
        steps.into_iter().for_each(|step| history.step(step));
        history.end();
    }

    #[test]
    fn what_is_almost_a_key_is_read_or_refused(text in almost_a_key()) {
        rules::key::check(text.as_bytes());
    }

    #[test]
    fn an_escaped_key_is_the_key(text in "\\PC{0,300}") {
        prop_assert_eq!(GroupKey::from_escaped(&escaped(&text)), GroupKey::new(&text));
    }

    #[test]
    fn what_is_almost_an_url_is_read_or_refused(tail in almost_a_key(), query in query()) {
        rules::url::check(format!("{tail}?{query}").as_bytes());
        rules::url::check(format!("?{query}").as_bytes());
    }

    #[cfg(feature = "cli")]
    #[test]
    fn what_is_almost_a_configuration_is_read_or_refused(file in almost_a_file()) {
        rules::config::check(file.as_bytes());
    }
}
