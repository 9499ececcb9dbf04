//! Every limit of a hub, hit.

use std::time::Duration;

use sigver::memory::Heard;
use sigver::protocol::Message;
use sigver::{Cause, HubBuilder, SignalingHub};

use tokio::time::Instant;

use crate::door::{Door, Kind, Peer};

crate::over_every_mount! {
    a_peer_that_never_connects_is_1008
    a_peer_that_does_not_read_is_closed_and_nobody_waits_for_it
    a_socket_that_takes_nothing_is_closed
    a_closed_peer_that_does_not_answer_is_dropped
    a_group_over_its_limit_is_1013
    too_many_members_named_are_1008
    a_smaller_message_limit_is_kept
    a_member_is_not_put_out_before_its_minimum_stay
    one_message_too_many_in_a_second_is_1008
    one_byte_too_many_in_a_second_is_1008
    one_connect_too_many_in_a_second_is_1008
}

/// A member, a joiner bound to it, and the link between them.
async fn linked(door: &dyn Door) -> (Peer, Peer, u32) {
    let [mut member, mut joiner] = [door.open("K").await, door.open("K").await];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "offer").await;
    let (link, _) = member.recv_content().await;
    (member, joiner, link)
}

async fn a_peer_that_never_connects_is_1008(kind: Kind) {
    let limit = if kind == Kind::Memory { Duration::from_secs(60) } else { Duration::from_millis(100) };
    let door = kind.mount(build(SignalingHub::builder().first_connect_timeout(limit))).await;
    let mut silent = door.open("K").await;
    let mut heartbeats = 0;
    loop {
        match silent.recv_any().await {
            Heard::Message(_) => {
                heartbeats += 1;
                silent.send_heartbeat().await;
            }
            Heard::Closed(Some(frame)) => {
                assert_eq!(frame.code, 1008);
                break;
            }
            other => panic!("expected a close with a code, but heard {other:?}"),
        }
    }
    // The last one falls together with the deadline.
    let expected = if kind == Kind::Memory { 11..=12 } else { 0..=0 };
    assert!(expected.contains(&heartbeats), "{heartbeats}");
}

async fn a_peer_that_does_not_read_is_closed_and_nobody_waits_for_it(kind: Kind) {
    let builder = || SignalingHub::builder().outbox_timeout(Duration::from_secs(3600));
    for (builder, cause) in [
        (builder().max_outbox_messages(16), Cause::MaxOutboxMessages),
        (builder().max_outbox_messages(10_000).max_outbox_bytes(1_000_000), Cause::MaxOutboxBytes),
    ] {
        let hub = build(builder);
        let door = kind.mount(hub.clone()).await;
        let (mut member, mut deaf, link) = linked(&*door).await;
        // As much as it takes to fill the buffers on the way to a peer that reads nothing.
        let payload = vec![0; 60_000];
        for sent in 0.. {
            assert!(sent < 1000, "60 MB are waiting for a peer that reads nothing");
            member.send_content(link, payload.clone()).await;
            // The answer tells that the hub has got so far; before it may come the end of the link.
            member.send_connect(1, &[]).await;
            match member.recv().await {
                Heard::Message(Message::Connected(true)) => {}
                Heard::Message(Message::Content { data, .. }) => {
                    assert_eq!(data, "");
                    break;
                }
                other => panic!("expected an answer or the end of the link, but heard {other:?}"),
            }
        }
        assert_eq!(hub.stats().rejections.get(cause), 1);
        if kind == Kind::Memory {
            let mut heard = 0;
            while let Heard::Message(_) = deaf.recv().await {
                heard += 1;
            }
            assert!(heard >= 16, "{heard}: what was accepted before the overflow comes first");
        }
    }
}

async fn a_socket_that_takes_nothing_is_closed(kind: Kind) {
    let limit = if kind == Kind::Memory { Duration::from_secs(10) } else { Duration::from_millis(200) };
    let builder = SignalingHub::builder().max_outbox_messages(10_000).max_outbox_bytes(1 << 30).outbox_timeout(limit);
    let hub = build(builder);
    let door = kind.mount(hub.clone()).await;
    let (mut member, _deaf, link) = linked(&*door).await;
    // More than the buffers on the way take, and less than the outbox.
    for _ in 0..500 {
        member.send_content(link, vec![0; 60_000]).await;
    }
    assert_eq!(member.recv_content().await, (link, "".into()));
    assert_eq!(hub.stats().peers, 1);
}

async fn a_closed_peer_that_does_not_answer_is_dropped(kind: Kind) {
    let hub = build(SignalingHub::builder().close_timeout(Duration::from_millis(100)));
    let door = kind.mount(hub.clone()).await;
    // It never reads, so it never answers the close.
    let mut deaf = door.open("K").await;
    assert!(deaf.connect(1, &[]).await);
    let start = Instant::now();
    assert_eq!(hub.drain(Duration::from_secs(50)).await, 0);
    assert!(kind != Kind::Memory || start.elapsed() < Duration::from_millis(150), "{:?}", start.elapsed());
}

async fn a_group_over_its_limit_is_1013(kind: Kind) {
    let door = kind.mount(build(SignalingHub::builder().max_peers_per_group(2))).await;
    let mut here = [door.open("K").await, door.open("K").await];
    assert!(here[0].connect(1, &[]).await);
    assert!(!here[1].connect(2, &[]).await);
    assert_eq!(door.open("K").await.recv_close().await, 1013);
    assert!(door.open("another").await.connect(1, &[]).await);
    let [first, _second] = here;
    first.close().await;
    // The seat is free once the hub has seen it; until then newcomers are sent away.
    loop {
        let mut next = door.open("K").await;
        next.send_connect(3, &[]).await;
        match next.recv().await {
            Heard::Message(_) => break,
            Heard::Closed(Some(frame)) => assert_eq!(frame.code, 1013),
            other => panic!("expected an answer or a close, but heard {other:?}"),
        }
    }
}

async fn too_many_members_named_are_1008(kind: Kind) {
    let door = kind.mount(build(SignalingHub::builder().max_members_per_connect(3))).await;
    let mut peer = door.open("K").await;
    assert!(peer.connect(1, &[1, 2, 3]).await);
    peer.send_connect(1, &[1, 2, 3, 4]).await;
    assert_eq!(peer.recv_close().await, 1008);
}

async fn a_smaller_message_limit_is_kept(kind: Kind) {
    let door = kind.mount(build(SignalingHub::builder().max_message_bytes(100))).await;
    let mut peer = door.open("K").await;
    assert!(peer.connect(1, &[]).await);
    peer.send_content(0, vec![0; 101]).await;
    assert_eq!(peer.recv_close().await, 1009);
}

async fn a_member_is_not_put_out_before_its_minimum_stay(kind: Kind) {
    for (stay, answer) in [(Duration::from_secs(3600), false), (Duration::from_nanos(1), true)] {
        let door = kind.mount(build(SignalingHub::builder().eviction_min_age(stay))).await;
        let [mut member, mut joiner] = [door.open("K").await, door.open("K").await];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        if kind == Kind::Memory {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(joiner.connect(2, &[]).await, answer, "after {stay:?}");
    }
}

async fn one_message_too_many_in_a_second_is_1008(kind: Kind) {
    let hub = build(SignalingHub::builder().messages_per_second(100));
    let door = kind.mount(hub.clone()).await;
    let [mut flood, mut calm] = [door.open("K").await, door.open("L").await];
    for _ in 0..1000 {
        flood.send_heartbeat().await;
    }
    assert_eq!(flood.recv_close().await, 1008);
    assert!(calm.connect(1, &[]).await);
    assert_eq!(hub.stats().rejections.get(Cause::MessagesPerSecond), 1);
}

async fn one_byte_too_many_in_a_second_is_1008(kind: Kind) {
    let hub = build(SignalingHub::builder().bytes_per_second(100_000));
    let door = kind.mount(hub.clone()).await;
    let mut flood = door.open("K").await;
    for _ in 0..20 {
        flood.send_content(0, vec![0; 30_000]).await;
    }
    assert_eq!(flood.recv_close().await, 1008);
    assert_eq!(hub.stats().rejections.get(Cause::BytesPerSecond), 1);
}

async fn one_connect_too_many_in_a_second_is_1008(kind: Kind) {
    let hub = build(SignalingHub::builder().connects_per_second(50));
    let door = kind.mount(hub.clone()).await;
    let mut asking = door.open("K").await;
    let mut answers = 0;
    loop {
        asking.send_connect(1, &[]).await;
        match asking.recv().await {
            Heard::Message(Message::Connected(true)) => answers += 1,
            Heard::Closed(Some(frame)) => {
                assert_eq!(frame.code, 1008);
                break;
            }
            other => panic!("expected an answer or a close, but heard {other:?}"),
        }
        assert!(answers < 5000, "nobody is refused");
    }
    assert!(answers >= 50, "{answers}");
    assert_eq!(hub.stats().rejections.get(Cause::ConnectsPerSecond), 1);
}

pub(crate) fn build(builder: HubBuilder) -> SignalingHub {
    builder.build().expect("sound limits")
}
