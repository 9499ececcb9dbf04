//! Replays what the reference server was seen to do, as `tests/reference/judge.mjs --save` recorded it.
//!
//! The first lines of `tests/reference/traces.txt` say what its lines mean.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sigver::protocol::{Action, Event, Group, LinkId, MemberId, Message, PeerId};

const TRACES: &str = include_str!("reference/traces.txt");

/// What each peer sees in one step, in its order.
type Sights = BTreeMap<PeerId, Vec<Sight>>;

#[derive(Debug, PartialEq)]
enum Sight {
    Connected(bool),
    ContentFrom(LinkId, Vec<u8>),
    ContentTo(LinkId, Vec<u8>),
    Closed(u16),
}

/// One script on its way through a group.
#[derive(Default)]
struct Replay {
    group: Group,
    fresh: u32,
    /// What the recording calls a link, by name; and which links have a name already.
    links: HashMap<String, LinkId>,
}

impl Replay {
    /// Carries out a step, and says what the peers see. A peer that is closed leaves at once.
    fn step(&mut self, words: &[&str]) -> Sights {
        let mut seen = Sights::new();
        let mut events = vec![self.event(words)];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.group.handle(event, &mut actions);
            for action in actions {
                let (peer, sight) = match action {
                    Action::Send { to, message: Message::Connected(admitted) } => (to, Sight::Connected(admitted)),
                    Action::Send { to, message: Message::Content { sender: 0, recipient, data, last: false } } => {
                        (to, Sight::ContentTo(link(recipient), data.into()))
                    }
                    Action::Send { to, message: Message::Content { sender, recipient: 0, data, last: false } } => {
                        (to, Sight::ContentFrom(link(sender), data.into()))
                    }
                    Action::Close { peer, code } => {
                        events.push(Event::Leave { peer });
                        (peer, Sight::Closed(code.code()))
                    }
                    Action::Release(_) => continue,
                    other => panic!("{other:?} is nothing that a peer may see"),
                };
                seen.entry(peer).or_default().push(sight);
            }
        }
        seen
    }

    fn event(&mut self, words: &[&str]) -> Event {
        let peer = peer(words[0]);
        match words[1..] {
            ["open"] => Event::Join { peer, favored: false },
            ["open", "favored"] => Event::Join { peer, favored: true },
            ["connect", id, members] => {
                self.fresh += 1;
                let members = members.split(',').filter(|member| *member != "-");
                Event::Connect {
                    peer,
                    id: MemberId(number(id)),
                    members: members.map(number).map(MemberId).collect(),
                    // Out of the way of the small numbers that the scripts use.
                    fresh: link(1 << 30 | self.fresh),
                    now: Duration::ZERO,
                }
            }
            ["content", to, last @ ("more" | "last"), data] => {
                let recipient = self.links.get(to).map_or_else(|| number(to), |link| link.value());
                Event::Content { peer, recipient, last: last == "last", data: bytes(data).into() }
            }
            ["leave"] => Event::Leave { peer },
            _ => panic!("no step: {words:?}"),
        }
    }

    /// What a line says that a peer saw. A link that has no name yet is the one that was `seen` in its place.
    fn sight(&mut self, words: &[&str], seen: Option<&Sight>) -> Sight {
        let mut named = |name: &str| match (self.links.get(name), seen) {
            (Some(&link), _) => link,
            (None, Some(&(Sight::ContentFrom(link, _) | Sight::ContentTo(link, _)))) => {
                assert!(!self.links.values().any(|known| *known == link), "{name} is a link that has another name");
                self.links.insert(name.to_owned(), link);
                link
            }
            (None, other) => panic!("expected {words:?}, but saw {other:?}"),
        };
        match words[1..] {
            ["connected", admitted] => Sight::Connected(admitted == "true"),
            ["content", "from", link, data] => Sight::ContentFrom(named(link), bytes(data)),
            ["content", "to", link, data] => Sight::ContentTo(named(link), bytes(data)),
            ["closed", code] => Sight::Closed(code.parse().expect("a number")),
            _ => panic!("no sight: {words:?}"),
        }
    }
}

fn peer(name: &str) -> PeerId {
    PeerId(name.bytes().next().expect("a letter").into())
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("{text} is neither a number nor a known link"))
}

fn link(value: u32) -> LinkId {
    LinkId::new(value).expect("31 bits, not 0")
}

fn bytes(hex: &str) -> Vec<u8> {
    if hex == "-" {
        return Vec::new();
    }
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

/// Compares what a step showed with what is left to read of it.
fn all_seen(seen: &Sights, at: &str) {
    assert!(seen.values().all(Vec::is_empty), "{at}: the reference shows no {seen:?}");
}

#[test]
fn a_group_does_what_the_reference_server_did() {
    let mut replay = Replay::default();
    let mut seen = Sights::new();
    let (mut scripts, mut at) = (0, "");
    for line in TRACES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "=" => {
                all_seen(&seen, at);
                (replay, seen) = (Replay::default(), Sights::new());
                scripts += 1;
            }
            ">" => {
                all_seen(&seen, at);
                seen = replay.step(&words[1..]);
            }
            "<" => {
                let sights = seen.entry(peer(words[1])).or_default();
                let expected = replay.sight(&words[1..], sights.first());
                assert!(!sights.is_empty(), "script {scripts}, after {at}: nothing was seen of {line}");
                assert_eq!(sights.remove(0), expected, "script {scripts}, after {at}");
                continue;
            }
            other => panic!("no line begins with {other}"),
        }
        at = line;
    }
    all_seen(&seen, at);
    assert!(scripts >= 200, "{scripts}: the recording is not whole");
}
