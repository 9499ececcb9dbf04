//! What needs access to the inside of a hub: bugs in one group.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::cluster::{MemoryBackplane, StepFault};
use crate::hub::admission::request::JoinRequest;
use crate::hub::cluster::config::ClusterConfig;
use crate::hub::shared::SignalingHub;
use crate::protocol::{GroupKey, Message};
use crate::transport::{ChannelTransport, Frame, pair};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::sleep;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn node(backplane: MemoryBackplane) -> SignalingHub {
    let config = ClusterConfig::new(backplane);
    let (hub, driver) = SignalingHub::builder().build_cluster(config).expect("the settings are valid");
    tokio::spawn(driver);
    hub
}

fn join(hub: &SignalingHub, key: &str) -> ChannelTransport {
    let (hub_end, client_end) = pair(16);
    tokio::spawn(hub.serve(hub_end, JoinRequest::new(key)));
    client_end
}

async fn send(client: &mut ChannelTransport, message: Message) {
    client.send(Frame::Binary(message.encode())).await.expect("the hub reads");
}

async fn recv(client: &mut ChannelTransport) -> Frame {
    client.next().await.expect("the hub answers").expect("a valid frame")
}

async fn connect(client: &mut ChannelTransport, id: u32) -> Message {
    send(client, Message::connect(id, &[])).await;
    decode(recv(client).await)
}

fn decode(frame: Frame) -> Message {
    match frame {
        Frame::Binary(bytes) => Message::decode(bytes).expect("a valid message"),
        other => panic!("unexpected {other:?}"),
    }
}

/// Panics under the lock of a room.
fn poison(hub: &SignalingHub, key: &str) {
    let room = hub.shared.registry.find(&GroupKey::new(key).expect("a valid key")).expect("a room");
    let bug = || {
        let _state = room.lock_for_test();
        panic!("a bug under the lock");
    };
    catch_unwind(AssertUnwindSafe(bug)).expect_err("the bug panics");
}

#[tokio::test(start_paused = true)]
async fn bug_in_one_group_closes_its_peers_here_and_ends_their_links() {
    let engine = MemoryBackplane::new();
    let [first, second] = [node(engine.connect()), node(engine.connect())];
    let (mut member, mut joiner) = (join(&first, "bug"), join(&second, "bug"));
    assert_eq!(connect(&mut member, 1).await, Message::Connected(true));
    assert_eq!(connect(&mut joiner, 2).await, Message::Connected(false));
    send(&mut joiner, Message::content(0, "offer")).await;
    recv(&mut member).await;

    poison(&first, "bug");
    send(&mut joiner, Message::content(0, "candidate")).await;

    let Frame::Close(Some(close)) = recv(&mut member).await else { panic!("the member is closed") };
    assert_eq!(close.code, 1011);
    let Frame::Binary(end) = recv(&mut joiner).await else { panic!("the joiner stays") };
    assert!(matches!(Message::decode(end), Ok(Message::Content { data, .. }) if data.is_empty()));
    // The driver still works, and the member is not in the list any more.
    assert_eq!(connect(&mut joiner, 2).await, Message::Connected(true));
    assert_eq!(connect(&mut join(&first, "other"), 1).await, Message::Connected(true));
    drop((member, joiner));
    while first.stats().links + second.stats().links > 0 || first.stats().groups > 1 || second.stats().groups > 0 {
        sleep(millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn reply_to_a_step_from_before_a_bug_is_not_a_reply_to_a_later_step() {
    let engine = MemoryBackplane::new();
    let hub = node(engine.clone());
    let (mut before, mut after) = (join(&hub, "bug"), join(&hub, "bug"));
    sleep(millis(1)).await;
    engine.fault_next_step(StepFault::DelayReply(millis(200)));
    send(&mut before, Message::connect(1, &[])).await;
    sleep(millis(1)).await;
    poison(&hub, "bug");
    // The peers of the room are closed, and the next one starts with an empty group.
    let mut next = join(&hub, "bug");
    for peer in [&mut before, &mut after] {
        assert!(matches!(recv(peer).await, Frame::Close(Some(close)) if close.code == 1011));
    }
    engine.fault_next_step(StepFault::DelayReply(millis(300)));
    send(&mut next, Message::connect(2, &[])).await;
    sleep(millis(1000)).await;
    assert_eq!(decode(recv(&mut next).await), Message::Connected(true));
    assert!(next.next().now_or_never().is_none(), "the peer stays, and has one answer");
    assert_eq!(connect(&mut join(&hub, "bug"), 3).await, Message::Connected(false));
}

#[tokio::test(start_paused = true)]
async fn entries_of_peers_that_a_bug_has_closed_are_removed_from_the_list() {
    let engine = MemoryBackplane::new();
    let hub = node(engine.connect());
    let mut member = join(&hub, "bug");
    assert_eq!(connect(&mut member, 1).await, Message::Connected(true));
    assert_eq!(engine.list_count(), 1);
    poison(&hub, "bug");
    drop(member);
    sleep(millis(100)).await;
    assert_eq!((engine.list_count(), hub.stats().groups), (0, 0));
}
