//! Limits of outboxes: which peer the hub closes when a receiver does not keep up.

use std::time::Duration;

use sigver::client::{ClientError, Event};
use sigver::{Cause, HubBuilder, SignalingHub};

use crate::server::{Adapter, BoundPair, Peer};

crate::on_every_adapter_with_one_hub! {
    main_sender_of_a_full_outbox_is_closed_and_the_receiver_stays
    receiver_of_a_full_outbox_without_a_main_sender_is_closed_with_1013
    total_of_all_outboxes_stays_within_max_total_outbox_bytes
    message_queued_for_outbox_timeout_closes_its_receiver_with_1013
}

/// A message that fills the buffers between the hub and a peer quickly.
const LARGE: usize = 60_000;

/// Returns a builder with timeouts and rates that the tests do not reach. The paused clock of the memory adapter would
/// reach the default timeouts at once.
fn builder() -> HubBuilder {
    let builder = SignalingHub::builder().outbox_timeout(Duration::from_secs(3600)).max_missed_heartbeats(1000);
    builder.bytes_per_second(64 << 20).bytes_per_second_per_ip(256 << 20)
}

/// Sends one content, and waits until the hub has handled it. Fails with the close code of the sender.
async fn send(sender: &mut Peer, recipient: u32) -> Result<(), u16> {
    sender.send_content(recipient, vec![0; LARGE]).await;
    sender.send_connect(1, &[1]).await;
    match sender.recv().await {
        Ok(Event::Connected { .. }) => Ok(()),
        Err(ClientError::Closed(Some(frame))) => Err(frame.code),
        other => panic!("expected an answer or a close, but received {other:?}"),
    }
}

/// Sends contents until the hub closes the sender, and returns the close code.
async fn send_until_closed(sender: &mut Peer, recipient: u32) -> u16 {
    for _ in 0..1000 {
        if let Err(code) = send(sender, recipient).await {
            return code;
        }
    }
    panic!("60 MB are queued for a peer that does not read");
}

async fn main_sender_of_a_full_outbox_is_closed_and_the_receiver_stays(adapter: Adapter) {
    let bytes = 500_000;
    for (builder, cause) in [
        (builder().max_outbox_messages(3).max_outbox_bytes(bytes), Cause::MaxOutboxMessages),
        (builder().max_outbox_messages(10_000).max_outbox_bytes(bytes), Cause::MaxOutboxBytes),
    ] {
        let hub = adapter.build(builder);
        let server = adapter.mount(hub.clone()).await;
        let BoundPair { member: mut flooder, joiner: mut reader, link } = BoundPair::open(&*server).await;
        assert_eq!(send_until_closed(&mut flooder, link).await, 1008);
        let stats = hub.stats();
        assert_eq!((stats.closes.get(cause), stats.closes.total(), stats.rejections.total()), (1, 1, 0));
        // The reader receives what its transport had accepted, then the end of the link.
        loop {
            match reader.recv().await {
                Ok(Event::Content { data, .. }) => assert_eq!(data.len(), LARGE),
                Ok(Event::Ended { .. }) => break,
                other => panic!("expected content or the end of the link, but received {other:?}"),
            }
        }
        assert!(reader.connect(2, &[]).await, "the group has no other member");
        assert_eq!(hub.stats().reserved_outbox_bytes, 0);
    }
}

async fn receiver_of_a_full_outbox_without_a_main_sender_is_closed_with_1013(adapter: Adapter) {
    let hub = adapter.build(builder().max_outbox_messages(10_000).max_outbox_bytes(500_000));
    let server = adapter.mount(hub.clone()).await;
    let mut reader = server.open("K").await;
    assert!(reader.connect(1, &[]).await);
    let mut joiners = Vec::new();
    for id in 2..6 {
        let mut joiner = server.open("K").await;
        assert!(!joiner.connect(id, &[]).await);
        joiners.push(joiner);
    }
    'sending: for round in 0.. {
        assert!(round < 250, "60 MB are queued for a peer that does not read");
        for (joiner, id) in joiners.iter_mut().zip(2..) {
            joiner.send_content(0, vec![0; LARGE]).await;
            // Names itself and the reader, so that the answer changes nothing for the next round.
            joiner.send_connect(id, &[1]).await;
            match joiner.recv().await {
                Ok(Event::Connected { .. }) => {}
                Ok(Event::Ended { .. }) => break 'sending,
                other => panic!("expected an answer or the end of the link, but received {other:?}"),
            }
        }
    }
    let stats = hub.stats();
    assert_eq!((stats.closes.get(Cause::MaxOutboxBytes), stats.closes.total()), (1, 1));
    assert_eq!(stats.peers, 4);
}

async fn total_of_all_outboxes_stays_within_max_total_outbox_bytes(adapter: Adapter) {
    const TOTAL: usize = 1 << 20;
    let limits = builder().max_outbox_messages(10_000).max_outbox_bytes(TOTAL / 4).max_total_outbox_bytes(TOTAL);
    let hub = adapter.build(limits);
    let server = adapter.mount(hub.clone()).await;
    // The outboxes of the readers hold a seventh of the total each, until one of them is closed.
    let mut slow = Vec::new();
    while hub.stats().closes.total() == 0 {
        assert!(slow.len() < 8, "eight sevenths exceed the total");
        let mut pair = BoundPair::open_in(&*server, &format!("slow-{}", slow.len())).await;
        let before = hub.stats().reserved_outbox_bytes;
        while hub.stats().closes.total() == 0 && hub.stats().reserved_outbox_bytes < before + TOTAL / 7 {
            send(&mut pair.member, pair.link).await.unwrap_or_else(|code| assert_eq!(code, 1013));
        }
        assert!(hub.stats().reserved_outbox_bytes <= TOTAL);
        slow.push(pair);
    }
    assert_eq!(hub.stats().closes.get(Cause::MaxTotalOutboxBytes), 1);
    // The slow peers leave room for others, whose messages are too large to be free.
    for n in 0..20 {
        let mut pair = BoundPair::open_in(&*server, &format!("fast-{n}")).await;
        pair.joiner.send_content(0, vec![n; 16_000]).await;
        assert_eq!(pair.member.recv_content().await, (pair.link, vec![n; 16_000].into()));
        pair.assert_undisturbed().await;
        assert!(hub.stats().reserved_outbox_bytes <= TOTAL);
    }
    drop(slow);
}

async fn message_queued_for_outbox_timeout_closes_its_receiver_with_1013(adapter: Adapter) {
    let timeout = if adapter.has_paused_clock() { Duration::from_secs(10) } else { Duration::from_millis(200) };
    let limits = builder().max_outbox_messages(10_000).max_outbox_bytes(1 << 28).max_total_outbox_bytes(1 << 30);
    let hub = adapter.build(limits.outbox_timeout(timeout));
    let server = adapter.mount(hub.clone()).await;
    let BoundPair { mut member, joiner: _slow, link } = BoundPair::open(&*server).await;
    // More than the buffers between the hub and the peer hold, and less than the outbox holds.
    for _ in 0..500 {
        member.send_content(link, vec![0; LARGE]).await;
    }
    assert_eq!(member.recv_content().await, (link, "".into()));
    let stats = hub.stats();
    assert_eq!((stats.closes.get(Cause::OutboxTimeout), stats.peers), (1, 1));
}
