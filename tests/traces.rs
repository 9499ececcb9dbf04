//! Replays recordings of npm's `sigver`, made by `tests/reference/differential.mjs --save`.
//!
//! The first lines of `tests/reference/traces.txt` describe the format.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sigver::protocol::{Action, Event, Group, LinkId, MemberId, Message, PeerId};

const TRACES: &str = include_str!("reference/traces.txt");

/// The observations of each peer in one step, in order.
type Observations = BTreeMap<PeerId, Vec<Observation>>;

#[derive(Debug, PartialEq)]
enum Observation {
    Connected(bool),
    ContentFrom(LinkId, Vec<u8>),
    ContentTo(LinkId, Vec<u8>),
    Closed(u16),
}

/// The replay of one script.
#[derive(Default)]
struct Replay {
    group: Group,
    links_created: u32,
    /// The links that have a name in the recording.
    links: HashMap<String, LinkId>,
}

impl Replay {
    /// Applies a step, and returns what the peers observe. A peer that is closed leaves at once.
    fn step(&mut self, words: &[&str]) -> Observations {
        let mut observed = Observations::new();
        let mut events = vec![self.event(words)];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.group.handle(event, &mut actions);
            for action in actions {
                let (peer, observation) = match action {
                    Action::Send { to, message: Message::Connected(member) } => (to, Observation::Connected(member)),
                    Action::Send { to, message: Message::Content { sender: 0, recipient, data, last: false } } => {
                        (to, Observation::ContentTo(link(recipient), data.into()))
                    }
                    Action::Send { to, message: Message::Content { sender, recipient: 0, data, last: false } } => {
                        (to, Observation::ContentFrom(link(sender), data.into()))
                    }
                    Action::Close { peer, code } => {
                        events.push(Event::Leave { peer });
                        (peer, Observation::Closed(code.as_u16()))
                    }
                    Action::ReleaseLink(_) => continue,
                    other => panic!("{other:?} must not reach a peer"),
                };
                observed.entry(peer).or_default().push(observation);
            }
        }
        observed
    }

    fn event(&mut self, words: &[&str]) -> Event {
        let peer = peer(words[0]);
        match words[1..] {
            ["open"] => Event::Join { peer, favored: false },
            ["open", "favored"] => Event::Join { peer, favored: true },
            ["connect", id, members] => {
                self.links_created += 1;
                let members = members.split(',').filter(|member| *member != "-");
                Event::Connect {
                    peer,
                    id: MemberId(number(id)),
                    members: members.map(number).map(MemberId).collect(),
                    // Different from the small numbers in the scripts.
                    new_link: link(1 << 30 | self.links_created),
                    now: Duration::ZERO,
                }
            }
            ["content", to, last @ ("more" | "last"), data] => {
                let recipient = self.links.get(to).map_or_else(|| number(to), |link| link.value());
                Event::Content { peer, recipient, last: last == "last", data: bytes(data).into() }
            }
            ["leave"] => Event::Leave { peer },
            _ => panic!("{words:?} is not a step"),
        }
    }

    /// Parses an expected observation. A link without a name gets its name from `observed`, the observation at the
    /// same place.
    fn expected(&mut self, words: &[&str], observed: Option<&Observation>) -> Observation {
        let mut named = |name: &str| match (self.links.get(name), observed) {
            (Some(&link), _) => link,
            (None, Some(&(Observation::ContentFrom(link, _) | Observation::ContentTo(link, _)))) => {
                assert!(!self.links.values().any(|known| *known == link), "link {name} already has another name");
                self.links.insert(name.to_owned(), link);
                link
            }
            (None, other) => panic!("expected {words:?}, observed {other:?}"),
        };
        match words[1..] {
            ["connected", member] => Observation::Connected(member == "true"),
            ["content", "from", link, data] => Observation::ContentFrom(named(link), bytes(data)),
            ["content", "to", link, data] => Observation::ContentTo(named(link), bytes(data)),
            ["closed", code] => Observation::Closed(code.parse().expect("a number")),
            _ => panic!("{words:?} is not an observation"),
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

/// Checks that the recording has listed all observations of a step.
fn assert_all_expected(observed: &Observations, step: &str) {
    assert!(observed.values().all(Vec::is_empty), "{step}: not observed with npm's sigver: {observed:?}");
}

#[test]
fn group_behaves_like_the_recorded_reference_server() {
    let mut replay = Replay::default();
    let mut observed = Observations::new();
    let (mut scripts, mut step) = (0, "");
    for line in TRACES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "=" => {
                assert_all_expected(&observed, step);
                (replay, observed) = (Replay::default(), Observations::new());
                scripts += 1;
            }
            ">" => {
                assert_all_expected(&observed, step);
                observed = replay.step(&words[1..]);
            }
            "<" => {
                let of_peer = observed.entry(peer(words[1])).or_default();
                let expected = replay.expected(&words[1..], of_peer.first());
                assert!(!of_peer.is_empty(), "script {scripts}, after {step}: {line} was not observed");
                assert_eq!(of_peer.remove(0), expected, "script {scripts}, after {step}");
                continue;
            }
            other => panic!("line starts with {other}; must be =, > or <"),
        }
        step = line;
    }
    assert_all_expected(&observed, step);
    assert!(scripts >= 200, "{scripts} scripts: the recording is incomplete");
}
