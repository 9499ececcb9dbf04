//! Invalid messages: the sender is closed with the right code, and other peers do not notice.

use bytes::Bytes;
use sigver::Frame;
use sigver::client::Event;
use sigver::protocol::Message;

use crate::server::{Adapter, BoundPair};

crate::on_every_adapter! {
    text_message_closes_with_4743
    invalid_message_closes_with_4743
    connected_from_peer_is_ignored
    heartbeat_false_and_unknown_fields_are_ignored
    message_one_byte_over_max_message_bytes_closes_with_1009
    messages_before_invalid_message_are_answered
}

// Without axum and warp upgraded by the app: their sockets cannot discard the rest of a message that they rejected.
crate::on! {
    [
        memory: Memory, memory_node: MemoryNode, memory_cluster: MemoryCluster, hyper: Hyper, axum: Axum, warp: Warp,
        standalone: Standalone, standalone_tls: StandaloneTls, standalone_cluster: StandaloneCluster,
        hyper_upgraded_by_app: HyperUpgradedByApp
    ]
    message_far_over_max_message_bytes_closes_with_1009
}

/// Sends an invalid frame from a member of a group in which two other peers are linked.
async fn expect_close(adapter: Adapter, invalid: Frame, code: u16) {
    let server = adapter.start().await;
    let mut bystanders = BoundPair::open(&*server).await;
    let mut offender = server.open("K").await;
    assert!(offender.connect(3, &[1]).await);
    offender.send_frame(invalid).await;
    assert_eq!(offender.recv_close().await.code, code);
    bystanders.assert_undisturbed().await;
    while server.open("K").await.connect(4, &[3]).await {
        // Its node sends the close frame and the removal from the member list at the same time.
        assert!(matches!(adapter, Adapter::StandaloneCluster), "the offender is no longer a member");
    }
}

async fn text_message_closes_with_4743(adapter: Adapter) {
    expect_close(adapter, Frame::Text("text".into()), 4743).await;
    expect_close(adapter, Frame::Text("".into()), 4743).await;
}

async fn invalid_message_closes_with_4743(adapter: Adapter) {
    for bytes in [
        &b""[..],               // an empty frame
        b"garbage",             //
        &[0x12, 5, 0x08],       // truncated
        &[0x78, 5],             // only unknown fields
        &[0x0a, 0],             // a heartbeat with the wrong wire type
        &[0x12, 3, 0x22, 9, 1], // data longer than its message
    ] {
        expect_close(adapter, Frame::Binary(Bytes::from_static(bytes)), 4743).await;
    }
}

async fn connected_from_peer_is_ignored(adapter: Adapter) {
    let server = adapter.start().await;
    let mut pair = BoundPair::open(&*server).await;
    for member in [true, false] {
        pair.member.send(Message::Connected(member)).await;
        pair.joiner.send(Message::Connected(member)).await;
    }
    pair.assert_undisturbed().await;
}

async fn heartbeat_false_and_unknown_fields_are_ignored(adapter: Adapter) {
    let server = adapter.start().await;
    let mut pair = BoundPair::open(&*server).await;
    for bytes in [&[0x08, 0][..], &[0x78, 5, 0x08, 1]] {
        pair.joiner.send_frame(Frame::Binary(Bytes::from_static(bytes))).await;
    }
    pair.assert_undisturbed().await;
}

async fn message_one_byte_over_max_message_bytes_closes_with_1009(adapter: Adapter) {
    expect_close(adapter, Frame::Binary(vec![0; 64 * 1024 + 1].into()), 1009).await;
}

async fn message_far_over_max_message_bytes_closes_with_1009(adapter: Adapter) {
    expect_close(adapter, Frame::Binary(vec![0; 10_000_000].into()), 1009).await;
}

async fn messages_before_invalid_message_are_answered(adapter: Adapter) {
    let server = adapter.start().await;
    let mut peer = server.open("K").await;
    peer.send_connect(1, &[]).await;
    peer.send_frame(Frame::Text("text".into())).await;
    assert!(matches!(peer.recv().await, Ok(Event::Connected { member: true })));
    assert_eq!(peer.recv_close().await.code, 4743);
}
