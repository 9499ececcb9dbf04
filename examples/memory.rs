//! Two peers and the hub in one process, without a network: an offer goes one way, an answer the other.
//!
//! `cargo run --example memory`

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use sigver::{SignalingHub, memory};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let hub = SignalingHub::new();
    let mut alice = memory::join(&hub, "a key that both know");
    let mut bob = memory::join(&hub, "a key that both know");

    // Each peer says what it calls itself and which members it sees.
    assert!(alice.connect(1, &[]).await, "the first peer is a member at once");
    assert!(!bob.connect(2, &[]).await, "the second is bound to a member, and has to signal with it");

    bob.send_content(0, "offer").await;
    let (link, offer) = alice.recv_content().await;
    assert_eq!(offer, "offer");
    alice.send_content(link, "answer").await;
    let (_, answer) = bob.recv_content().await;
    assert_eq!(answer, "answer");

    // Browsers would have a data channel now. Bob says whom he sees, and is in.
    assert!(bob.connect(2, &[1]).await, "who sees a member is a member");

    let stats = hub.stats();
    assert_eq!((stats.peers, stats.groups, stats.links, stats.relayed), (2, 1, 1, 2));
    println!("{stats:?}");
}
