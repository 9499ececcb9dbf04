//! What needs access to the inside of a hub: bugs in one group.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::MemoryBackplane;
use crate::hub::admission::request::JoinRequest;
use crate::hub::cluster::config::ClusterConfig;
use crate::hub::shared::SignalingHub;
use crate::protocol::{GroupKey, Message};
use crate::transport::{ChannelTransport, Frame, pair};
use futures::{SinkExt as _, StreamExt as _};

fn node(engine: &MemoryBackplane) -> SignalingHub {
    let config = ClusterConfig::new(engine.connect());
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
    match recv(client).await {
        Frame::Binary(bytes) => Message::decode(bytes).expect("a valid message"),
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn bug_in_one_group_closes_its_peers_here_and_ends_their_links() {
    let engine = MemoryBackplane::new();
    let [first, second] = [node(&engine), node(&engine)];
    let (mut member, mut joiner) = (join(&first, "bug"), join(&second, "bug"));
    assert_eq!(connect(&mut member, 1).await, Message::Connected(true));
    assert_eq!(connect(&mut joiner, 2).await, Message::Connected(false));
    send(&mut joiner, Message::content(0, "offer")).await;
    recv(&mut member).await;

    let room = first.shared.registry.find(&GroupKey::new("bug").expect("a valid key")).expect("a room");
    let bug = || {
        let _state = room.lock_for_test();
        panic!("a bug under the lock");
    };
    catch_unwind(AssertUnwindSafe(bug)).expect_err("the bug panics");
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
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
