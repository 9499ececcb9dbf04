//! So many steps of the reducer and nothing else, for a tool that counts instructions: `.ci/instructions` runs it.
//!
//! `steps relay|connect|leave PEERS TIMES`

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use sigver::protocol::{Event, Group, LinkId, MemberId, PeerId};

/// A peer that is no member yet.
const JOINER: PeerId = PeerId(0);

fn connect(peer: PeerId, members: &[u32], fresh: u32) -> Event {
    let members = members.iter().copied().map(MemberId).collect();
    Event::Connect {
        peer,
        id: MemberId(peer.0 as u32),
        members,
        fresh: LinkId::new(fresh).expect("within range"),
        now: Duration::ZERO,
    }
}

fn main() {
    // cargo adds options of its own, such as `--bench`.
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [step, peers, times] = &args[..] else { panic!("expected STEP PEERS TIMES, not {args:?}") };
    let [peers, times] = [peers, times].map(|number| number.parse::<u32>().expect("a number"));

    let (mut group, mut out) = (Group::new(), Vec::new());
    for peer in (1..=peers).map(|peer| PeerId(peer.into())) {
        group.handle(Event::Join { peer, favored: false }, &mut out);
        group.handle(connect(peer, &[1], 1), &mut out);
    }
    group.handle(Event::Join { peer: JOINER, favored: false }, &mut out);
    group.handle(connect(JOINER, &[], 1), &mut out);
    out.clear();
    let data = Bytes::from_static(&[0; 200]);
    for nth in 0..times {
        match step.as_str() {
            "relay" => {
                let content = Event::Content { peer: JOINER, recipient: 0, last: false, data: data.clone() };
                group.handle(content, &mut out);
            }
            // Two ids take turns, as each link takes the place of the one before.
            "connect" => group.handle(connect(JOINER, &[], 2 + nth % 2), &mut out),
            "leave" => {
                let peer = PeerId(u64::from(peers) + 1);
                group.handle(Event::Join { peer, favored: false }, &mut out);
                group.handle(connect(peer, &[1], 4), &mut out);
                group.handle(Event::Leave { peer }, &mut out);
            }
            other => panic!("{other} is no step"),
        }
        black_box(&out);
        out.clear();
    }
}
