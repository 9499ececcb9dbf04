//! Repeats one step of the reducer, for a tool that counts instructions. `.ci/instructions` runs it.
//!
//! `instructions relay|connect|named|renamed|leave PEERS TIMES`

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use sigver::protocol::{Event, Group, LinkId, MemberId, PeerId};

/// The peer that is bound to a member.
const JOINER: PeerId = PeerId(0);

/// Peer n connects with the id n.
fn connect(peer: PeerId, members: &[u32], new_link: u32) -> Event {
    connect_as(peer, peer.0 as u32, members, new_link)
}

fn connect_as(peer: PeerId, id: u32, members: &[u32], new_link: u32) -> Event {
    Event::Connect {
        peer,
        id: MemberId(id),
        members: members.iter().copied().map(MemberId).collect(),
        new_link: LinkId::new(new_link).expect("within range"),
        now: Duration::ZERO,
    }
}

fn main() {
    // cargo adds options of its own, such as `--bench`.
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [step, peers, times] = &args[..] else { panic!("arguments are {args:?}; must be STEP PEERS TIMES") };
    let [peers, times] = [peers, times].map(|number| number.parse::<u32>().expect("a number"));

    let (mut group, mut actions) = (Group::new(), Vec::new());
    for peer in (1..=peers).map(|peer| PeerId(peer.into())) {
        group.handle(Event::Join { peer, favored: false }, &mut actions);
        group.handle(connect(peer, &[1], 1), &mut actions);
    }
    group.handle(Event::Join { peer: JOINER, favored: false }, &mut actions);
    group.handle(connect(JOINER, &[], 1), &mut actions);
    // Link ids of the joiner: two that alternate, because each new link replaces the previous one.
    let mut new_links = [2, 3].into_iter().cycle();
    let mut search = || connect(JOINER, &[], new_links.next().expect("cycles"));
    if step == "renamed" {
        // The joiner tries half of the members, which then change their ids, and those of them that a search can find.
        (0..peers / 2).for_each(|_| _ = group.handle(search(), &mut actions));
        for peer in 1..=peers / 2 {
            group.handle(connect_as(PeerId(peer.into()), 1 << 31 | peer, &[peer], 4), &mut actions);
        }
        (0..16).for_each(|_| _ = group.handle(search(), &mut actions));
    }
    actions.clear();
    let absent: Vec<_> = (1 << 30..(1 << 30) + 512).collect();
    let data = Bytes::from_static(&[0; 200]);
    for nth in 0..times {
        match step.as_str() {
            "relay" => {
                let content = Event::Content { peer: JOINER, recipient: 0, last: false, data: data.clone() };
                group.handle(content, &mut actions);
            }
            "connect" | "renamed" => {
                group.handle(search(), &mut actions);
            }
            "named" => {
                group.handle(connect(JOINER, &absent, 2 + nth % 2), &mut actions);
            }
            "leave" => {
                let peer = PeerId(u64::from(peers) + 1);
                group.handle(Event::Join { peer, favored: false }, &mut actions);
                group.handle(connect(peer, &[1], 4), &mut actions);
                group.handle(Event::Leave { peer }, &mut actions);
            }
            other => panic!("step is {other}; must be relay, connect, named, renamed or leave"),
        }
        black_box(&actions);
        actions.clear();
    }
}
