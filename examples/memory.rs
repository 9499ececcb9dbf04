//! Joins two peers to a hub within one process, without a network, and relays an offer and an answer.
//!
//! Run it with: `cargo run --example memory`

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use sigver::{SignalingHub, memory};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let hub = SignalingHub::new();
    let mut alice = memory::join(&hub, "the group's key");
    let mut bob = memory::join(&hub, "the group's key");

    // Each peer sends an id of its choice, and names the members that it is directly connected to.
    assert!(alice.connect(1, &[]).await, "the first peer is a member");
    assert!(!bob.connect(2, &[]).await, "the second peer is bound to a member and must signal with it");

    bob.send_content(0, "offer").await;
    let (link, offer) = alice.recv_content().await;
    assert_eq!(offer, "offer");
    alice.send_content(link, "answer").await;
    let (_, answer) = bob.recv_content().await;
    assert_eq!(answer, "answer");

    // Browsers would now have a data channel. Bob names Alice, because he is directly connected to her.
    assert!(bob.connect(2, &[1]).await, "a peer that names a member becomes a member");

    let stats = hub.stats();
    assert_eq!((stats.peers, stats.groups, stats.links, stats.relayed_messages), (2, 1, 1, 2));
    println!("{stats:?}");
}
