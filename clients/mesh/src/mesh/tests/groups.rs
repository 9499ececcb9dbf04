//! Simulated groups: joining, discovery, losing, healing, and the hub.

use std::time::Duration;

use crate::event::{Event, LeaveReason, Reason, State};
use crate::id::PeerId;
use crate::mesh::Config;
use crate::mesh::testing::{World, config};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn states(world: &World, node: usize) -> Vec<(State, Reason)> {
    let state = |event: &Event| match event {
        Event::StateChange { state, reason, .. } => Some((*state, *reason)),
        _ => None,
    };
    world.nodes[node].events.iter().filter_map(state).collect()
}

fn leaves(world: &World, node: usize) -> Vec<(u32, LeaveReason)> {
    let leave = |event: &Event| match event {
        Event::PeerLeave { peer: PeerId(peer), reason } => Some((*peer, *reason)),
        _ => None,
    };
    world.nodes[node].events.iter().filter_map(leave).collect()
}

#[test]
fn first_peer_becomes_a_member_at_once() {
    let mut world = World::new();
    world.add(config());
    world.run(seconds(1));
    assert_eq!(states(&world, 0), [(State::Joining, Reason::None), (State::Joined, Reason::None)]);
}

#[test]
fn peers_that_join_one_after_another_form_a_mesh() {
    let mut world = World::new();
    for count in 1..=12 {
        world.add(config());
        world.run(seconds(8));
        assert!(world.is_meshed(), "{count} peers\n{}", world.describe());
    }
}

#[test]
fn peers_that_join_at_once_form_a_mesh() {
    for count in [2, 3, 8, 20] {
        World::with_peers(count);
    }
}

#[test]
fn joiner_signals_over_the_hub_with_one_member_only() {
    let mut world = World::with_peers(5);
    let before: Vec<_> = world.nodes.iter().map(|node| node.relayed.len()).collect();
    world.add(config());
    world.run(seconds(10));
    assert!(world.is_meshed(), "{}", world.describe());
    let relayed: usize = world.nodes.iter().zip(&before).map(|(node, before)| node.relayed.len() - before).sum();
    // Four pairs, each with an offer and an answer, sent twice, of which one was sent by the joiner.
    assert_eq!(relayed, 4 * 3);
    assert_eq!(world.nodes[5].connects.len(), 2);
}

#[test]
fn peer_that_leaves_is_removed_at_once_and_not_looked_for() {
    let mut world = World::with_peers(4);
    let left = world.id(2);
    let now = world.now;
    world.nodes[2].mesh.leave(now);
    world.settle();
    world.run(Duration::from_millis(100));
    world.nodes[2].alive = false;
    for node in [0, 1, 3] {
        assert_eq!(leaves(&world, node), [(left, LeaveReason::Left)]);
        world.nodes[node].relayed.clear();
    }
    world.run(seconds(30));
    assert!(world.is_meshed(), "{}", world.describe());
    for node in [0, 1, 3] {
        assert!(world.nodes[node].relayed.is_empty());
    }
}

#[test]
fn killed_peer_is_lost_after_six_unanswered_pings() {
    let mut world = World::with_peers(3);
    world.kill(1);
    world.run(seconds(11));
    assert_eq!(world.neighbours(0).len(), 2);
    world.run(seconds(4));
    assert_eq!(leaves(&world, 0), [(world.id(1), LeaveReason::Lost)]);
    world.run(seconds(60));
    assert!(world.is_meshed(), "{}", world.describe());
}

#[test]
fn mesh_survives_while_the_hub_is_away() {
    let mut world = World::with_peers(3);
    world.stop_hub(1001);
    world.run(seconds(30));
    for node in 0..3 {
        assert_eq!(world.nodes[node].mesh.state(), State::Reconnecting);
        assert_eq!(world.neighbours(node).len(), 2);
        assert!(leaves(&world, node).is_empty());
    }
    world.start_hub();
    world.run(seconds(31));
    assert!(world.is_meshed(), "{}", world.describe());
    world.add(config());
    world.run(seconds(10));
    assert!(world.is_meshed(), "{}", world.describe());
}

#[test]
fn old_mesh_merges_with_peers_that_joined_first_after_the_hub_restarted() {
    let mut world = World::with_peers(3);
    world.stop_hub(1001);
    world.run(seconds(20));
    world.start_hub();
    world.add(config());
    world.add(config());
    world.run(seconds(60));
    assert!(world.is_meshed(), "{}", world.describe());
}

#[test]
fn halves_of_a_broken_network_merge_when_it_heals() {
    let mut world = World::with_peers(5);
    world.block(&[0, 1], &[2, 3, 4], true);
    world.run(seconds(25));
    assert_eq!(world.neighbours(0).len(), 1, "{}", world.describe());
    assert_eq!(world.neighbours(3).len(), 2, "{}", world.describe());
    world.block(&[0, 1], &[2, 3, 4], false);
    world.run(seconds(60));
    assert!(world.is_meshed(), "{}", world.describe());
}

#[test]
fn interrupted_connection_is_restarted_through_a_common_neighbour() {
    let mut world = World::with_peers(3);
    world.block(&[0], &[1], true);
    world.run(seconds(9));
    let restarts = world.nodes[0].restarts + world.nodes[1].restarts;
    assert!(restarts > 0, "no restart");
    world.block(&[0], &[1], false);
    world.run(seconds(5));
    for node in 0..3 {
        assert!(leaves(&world, node).is_empty());
    }
    assert!(world.is_meshed());
    let before = world.nodes[0].restarts + world.nodes[1].restarts;
    world.run(seconds(30));
    assert_eq!(world.nodes[0].restarts + world.nodes[1].restarts, before);
}

#[test]
fn interruption_that_lasts_is_a_loss() {
    let mut world = World::with_peers(3);
    world.block(&[0], &[1], true);
    world.unreachable.insert((0, 1));
    world.run(seconds(35));
    assert_eq!(leaves(&world, 0), [(world.id(1), LeaveReason::Lost)]);
    assert_eq!(leaves(&world, 1), [(world.id(0), LeaveReason::Lost)]);
    assert!(leaves(&world, 2).is_empty());
    let restarts = world.nodes[0].restarts.max(world.nodes[1].restarts);
    assert!((2..=6).contains(&restarts), "{restarts} restarts");
}

#[test]
fn only_member_that_cannot_be_reached_is_not_evicted_again_and_again() {
    let mut world = World::new();
    world.unreachable.insert((0, 1));
    world.add(config());
    world.run(seconds(1));
    world.add(config());
    world.run(seconds(600));
    let evictions = world.nodes[0].events.iter().chain(&world.nodes[1].events);
    let evictions =
        evictions.filter(|event| matches!(event, Event::StateChange { close: Some(close), .. } if close.code == 4744));
    assert!(evictions.count() <= 600 / 15, "the peers evict each other");
    let last = states(&world, 0).pop().expect("a state");
    assert_eq!(last.1, Reason::IceFailed);
    world.unreachable.clear();
    world.run(seconds(120));
    assert!(world.is_meshed(), "{}", world.describe());
    assert_eq!(states(&world, 0).last(), Some(&(State::Joined, Reason::None)));
}

#[test]
fn final_close_codes_end_the_membership() {
    for code in [1002, 1008, 1009, 4000, 4739, 4740, 4741, 4743, 4745, 4746, 4999] {
        let mut world = World::with_peers(2);
        world.close_hub_of(0, code);
        world.run(seconds(1));
        assert_eq!(states(&world, 0).last(), Some(&(State::Left, Reason::Rejected)), "{code}");
        assert_eq!(leaves(&world, 1), [(world.id(0), LeaveReason::Left)], "it sends `bye`");
    }
}

#[test]
fn other_close_codes_lead_to_another_socket() {
    for code in [1000, 1001, 1006, 1011, 1012, 1013, 3000, 3999, 4742, 4744] {
        let mut world = World::with_peers(2);
        world.close_hub_of(0, code);
        world.run(Duration::from_millis(100));
        assert_ne!(world.nodes[0].mesh.state(), State::Joined, "{code}");
        world.run(seconds(3));
        assert!(world.is_meshed(), "{code}\n{}", world.describe());
        assert!(leaves(&world, 1).is_empty());
    }
}

#[test]
fn expired_key_is_renewed_once() {
    let mut world = World::new();
    world.add(Config { renewable_key: true, ..config() });
    world.run(seconds(1));
    world.close_hub_of(0, 4740);
    world.run(seconds(2));
    assert_eq!(world.nodes[0].mesh.state(), State::Joined);
    assert!(states(&world, 0).contains(&(State::Reconnecting, Reason::Expired)));
    world.close_hub_of(0, 4740);
    world.run(seconds(3));
    assert_eq!(world.nodes[0].mesh.state(), State::Joined, "the hub had accepted the fresh key");
}

#[test]
fn member_that_is_full_is_not_evicted_and_its_joiner_backs_off() {
    let mut world = World::new();
    world.add(Config { max_peers: 0, ..config() });
    world.run(seconds(1));
    world.add(config());
    world.run(seconds(120));
    assert_eq!(states(&world, 1).last(), Some(&(State::Joining, Reason::Full)));
    assert_eq!(world.nodes[0].mesh.state(), State::Joined);
    assert!((4..=14).contains(&world.nodes[1].connects.len()), "{} connects", world.nodes[1].connects.len());
}

#[test]
fn joiner_reaches_the_next_member_if_the_app_of_the_first_one_does_not_receive() {
    let mut world = World::with_peers(2);
    world.nodes[0].mesh.pause(true);
    world.add(config());
    world.run(seconds(20));
    assert_eq!(world.neighbours(2), [world.id(1)]);
    world.nodes[0].mesh.pause(false);
    world.run(seconds(60));
    assert!(world.is_meshed(), "{}", world.describe());
}

#[test]
fn joiner_whose_app_does_not_receive_does_not_evict_the_member() {
    let mut world = World::new();
    world.add(config());
    world.run(seconds(1));
    world.add(config());
    world.nodes[1].mesh.pause(true);
    world.run(seconds(60));
    assert_eq!(states(&world, 0).last(), Some(&(State::Joined, Reason::None)));
    assert_eq!(states(&world, 0).len(), 2, "it joined once");
    world.nodes[1].mesh.pause(false);
    world.run(seconds(60));
    assert!(world.is_meshed(), "{}", world.describe());
}

#[test]
fn metadata_is_reported_with_the_peer_and_when_it_changes() {
    let mut world = World::new();
    let named = |name: &str| Config { metadata: Some(serde_json::json!({ "name": name })), ..config() };
    world.add(named("Ada"));
    world.add(named("Bob"));
    world.run(seconds(5));
    let joined = world.nodes[0].events.iter().find_map(|event| match event {
        Event::PeerJoin { metadata, .. } => metadata.clone(),
        _ => None,
    });
    assert_eq!(joined, Some(serde_json::json!({ "name": "Bob" })));
    let changed = |world: &World| {
        let metadata = |event: &Event| match event {
            Event::PeerMetadata { metadata, .. } => Some(metadata.clone()),
            _ => None,
        };
        world.nodes[0].events.iter().filter_map(metadata).collect::<Vec<_>>()
    };
    for number in 0..10 {
        let now = world.now;
        world.nodes[1].mesh.set_metadata(number.into(), now);
        world.settle();
        world.run(Duration::from_millis(100));
    }
    world.run(seconds(2));
    assert_eq!(changed(&world), [serde_json::json!(0), serde_json::json!(9)]);
}
