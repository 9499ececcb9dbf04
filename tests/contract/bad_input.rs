//! What a peer may not say. The offender gets the right code, and nobody else notices.

use bytes::Bytes;
use sigver::Frame;
use sigver::memory::Heard;
use sigver::protocol::Message;

use crate::door::{Door, Kind, Peer};

crate::over_every_door! {
    a_text_message_is_4743
    what_is_no_message_is_4743
    connected_from_a_peer_is_ignored
    heartbeat_false_and_unknown_fields_are_ignored
    a_message_a_byte_over_the_limit_is_1009
    what_came_before_the_offence_is_answered
}

// Of a socket that axum or warp upgraded for the app, nobody can swallow what nobody reads.
crate::over! {
    [memory: Memory, hyper: Hyper, axum: Axum, warp: Warp, stand_alone: StandAlone, tls: StandAloneTls, app_hyper: AppHyper]
    a_message_far_over_the_limit_is_1009
}

/// Two peers that talk to each other.
struct Bystanders {
    member: Peer,
    joiner: Peer,
    link: u32,
}

impl Bystanders {
    async fn meet(door: &dyn Door) -> Self {
        let [mut member, mut joiner] = [door.open("K").await, door.open("K").await];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_content(0, "hello").await;
        let (link, _) = member.recv_content().await;
        Self { member, joiner, link }
    }

    /// The next thing that they hear is what they say to each other.
    async fn undisturbed(&mut self) {
        self.joiner.send_content(0, "ping").await;
        assert_eq!(self.member.recv_content().await, (self.link, "ping".into()));
        self.member.send_content(self.link, "pong").await;
        assert_eq!(self.joiner.recv_content().await, (self.link, "pong".into()));
    }
}

/// Each offender is a member of the bystanders' group.
async fn offend(kind: Kind, offence: Frame, code: u16) {
    let door = kind.open().await;
    let mut bystanders = Bystanders::meet(&*door).await;
    let mut offender = door.open("K").await;
    assert!(offender.connect(3, &[1]).await);
    offender.send_frame(offence).await;
    assert_eq!(offender.recv_close().await, code);
    bystanders.undisturbed().await;
    assert!(!door.open("K").await.connect(4, &[3]).await, "the offender is no member any more");
}

async fn a_text_message_is_4743(kind: Kind) {
    offend(kind, Frame::Text("text".into()), 4743).await;
    offend(kind, Frame::Text("".into()), 4743).await;
}

async fn what_is_no_message_is_4743(kind: Kind) {
    for bytes in [
        &b""[..],               // an empty frame
        b"garbage",             //
        &[0x12, 5, 0x08],       // truncated
        &[0x78, 5],             // unknown fields only
        &[0x0a, 0],             // a heartbeat with the wrong wire type
        &[0x12, 3, 0x22, 9, 1], // data longer than its message
    ] {
        offend(kind, Frame::Binary(Bytes::from_static(bytes)), 4743).await;
    }
}

async fn connected_from_a_peer_is_ignored(kind: Kind) {
    let door = kind.open().await;
    let mut bystanders = Bystanders::meet(&*door).await;
    for admitted in [true, false] {
        bystanders.member.send(Message::Connected(admitted)).await;
        bystanders.joiner.send(Message::Connected(admitted)).await;
    }
    bystanders.undisturbed().await;
}

async fn heartbeat_false_and_unknown_fields_are_ignored(kind: Kind) {
    let door = kind.open().await;
    let mut bystanders = Bystanders::meet(&*door).await;
    for bytes in [&[0x08, 0][..], &[0x78, 5, 0x08, 1]] {
        bystanders.joiner.send_frame(Frame::Binary(Bytes::from_static(bytes))).await;
    }
    bystanders.undisturbed().await;
}

async fn a_message_a_byte_over_the_limit_is_1009(kind: Kind) {
    offend(kind, Frame::Binary(vec![0; 64 * 1024 + 1].into()), 1009).await;
}

async fn a_message_far_over_the_limit_is_1009(kind: Kind) {
    offend(kind, Frame::Binary(vec![0; 10_000_000].into()), 1009).await;
}

async fn what_came_before_the_offence_is_answered(kind: Kind) {
    let door = kind.open().await;
    let mut peer = door.open("K").await;
    peer.send_connect(1, &[]).await;
    peer.send_frame(Frame::Text("text".into())).await;
    assert!(matches!(peer.recv().await, Heard::Message(Message::Connected(true))));
    assert_eq!(peer.recv_close().await, 4743);
}
