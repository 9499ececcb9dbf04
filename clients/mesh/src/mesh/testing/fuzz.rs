//! Reads the input of a fuzz target.

use std::time::Duration;

use sigver::client::Remote;
use sigver::protocol::LinkId;

use super::{Lone, config};
use crate::event::Close;
use crate::mesh::limits::{MAX_ANSWERING, MAX_DISCOVERING, MIN_JOINER_SLOTS};
use crate::mesh::{Config, ConnectionId};

/// Each line is one input: a letter, a digit that names a connection or link, and the content. `@` in the content is the
/// mesh's id. Panics if the mesh does, or if it exceeds its limits.
pub(crate) fn fuzz_mesh(input: &[u8]) {
    let mut lone = Lone::new(Config { max_peers: 5, channels: vec!["a".to_owned()], ..config() });
    for line in input.split(|&byte| byte == b'\n').take(1_000) {
        let [kind, digit, content @ ..] = line else { continue };
        apply(&mut lone, *kind, digit.wrapping_sub(b'0'), content);
        lone.settle();
        let pending = lone.mesh.connections.values().filter(|it| !it.is_open()).count();
        assert!(pending <= MAX_ANSWERING + MIN_JOINER_SLOTS + MAX_DISCOVERING + 1, "{pending} pending connections");
        let open = lone.mesh.connections.values().filter(|it| it.is_open()).count();
        assert_eq!(open, lone.mesh.neighbours.len(), "one connection for each neighbour");
    }
    let end = lone.now + Duration::from_secs(100);
    lone.advance(Duration::from_secs(100));
    assert_eq!(lone.now, end, "the clock does not stand still");
}

fn apply(lone: &mut Lone, kind: u8, number: u8, content: &[u8]) {
    let now = lone.now;
    let id = ConnectionId(u64::from(number));
    let link = u32::from(number) + 1;
    let joiner = LinkId::new(link).map_or(Remote::Member, Remote::Joiner);
    let text = String::from_utf8_lossy(content).replace('@', &lone.mesh.id().to_string());
    let mesh = &mut lone.mesh;
    match kind {
        b'j' => mesh.hub_content(joiner, link, text.as_bytes(), now),
        b'm' => mesh.hub_content(Remote::Member, link, text.as_bytes(), now),
        b'e' => mesh.hub_ended(joiner, link, now),
        b'E' => mesh.hub_ended(Remote::Member, link, now),
        b'a' => mesh.hub_connected(number % 2 == 1, now),
        b'x' => mesh.hub_closed(Some(Close::new(text.parse().unwrap_or(Close::LOST), "")), number % 2 == 1, now),
        b'h' => mesh.hub_opened(now),
        b'o' => mesh.opened(id, now),
        b'f' => mesh.failed(id, now),
        b'i' => mesh.ice_state(id, content.is_empty(), now),
        b'c' => mesh.control_message(id, false, text.as_bytes(), now),
        b'd' => mesh.data_message(id, None, false, content, now),
        b'n' => mesh.data_message(id, Some(&"a".into()), true, content, now),
        b't' => lone.advance(Duration::from_secs(u64::from(number))),
        _ => {}
    }
}
