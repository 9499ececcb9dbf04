//! Links: which contents the hub relays, and how the end of a link is reported.

use bytes::Bytes;

use crate::server::{Adapter, BoundPair};

crate::on_every_adapter! {
    content_is_relayed_unchanged_in_both_directions
    last_content_ends_only_its_direction
    end_is_sent_when_connection_closes
    end_is_not_sent_in_direction_that_has_ended
    content_without_valid_recipient_is_dropped
    content_reaches_only_other_end_of_its_link
    binding_to_another_member_ends_old_link_without_notice
    link_ids_are_below_two_to_the_31
}

async fn content_is_relayed_unchanged_in_both_directions(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { mut member, mut joiner, link } = BoundPair::open(&*server).await;
    let large = Bytes::from_iter((0..60_000).map(|n| n as u8));
    for payload in [Bytes::from_static(b""), Bytes::from_static(&[0, 255, b'"']), large] {
        for recipient in [0, 1] {
            joiner.send_content(recipient, payload.clone()).await;
            assert_eq!(member.recv_content().await, (link, payload.clone()));
        }
        member.send_content(link, payload.clone()).await;
        assert_eq!(joiner.recv_content().await, (link, payload));
    }
}

async fn last_content_ends_only_its_direction(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { mut member, mut joiner, link } = BoundPair::open(&*server).await;
    joiner.send_last_content(0, "last").await;
    assert_eq!(member.recv_content().await, (link, "last".into()));
    joiner.send_content(0, "dropped").await;
    // The answer shows that the hub has handled the content.
    assert!(joiner.connect(2, &[1]).await);
    member.send_content(link, "still open").await;
    assert_eq!(joiner.recv_content().await, (link, "still open".into()));
    assert!(member.connect(1, &[2]).await, "the member received nothing in between");
}

async fn end_is_sent_when_connection_closes(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { mut member, joiner, link } = BoundPair::open(&*server).await;
    joiner.close().await;
    assert_eq!(member.recv_content().await, (link, "".into()));

    let mut joiner = server.open("K").await;
    assert!(!joiner.connect(3, &[]).await);
    drop(member);
    assert_eq!(joiner.recv_content().await.1, "");
}

async fn end_is_not_sent_in_direction_that_has_ended(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { mut member, mut joiner, link } = BoundPair::open(&*server).await;
    joiner.send_last_content(0, "last").await;
    assert_eq!(member.recv_content().await, (link, "last".into()));
    assert!(joiner.connect(2, &[1]).await);
    // A witness is bound to the joiner, so it learns when the hub has handled the joiner's leave.
    let mut witness = server.open("K").await;
    assert!(!witness.connect(3, &[]).await);
    assert!(!witness.connect(3, &[]).await);
    joiner.close().await;
    assert_eq!(witness.recv_content().await.1, "");
    assert!(member.connect(1, &[]).await, "the member received nothing in between");
}

async fn content_without_valid_recipient_is_dropped(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { mut member, mut joiner, link } = BoundPair::open(&*server).await;
    let mut unbound = server.open("K").await;
    for recipient in [0, 1, 2, link, u32::MAX] {
        unbound.send_content(recipient, "dropped").await;
    }
    for recipient in [0, 1, 2, u32::MAX] {
        member.send_content(recipient, "dropped").await;
    }
    for recipient in [2, link, u32::MAX] {
        joiner.send_content(recipient, "dropped").await;
    }
    assert!(unbound.connect(3, &[1]).await);
    assert!(member.connect(1, &[3]).await);
    assert!(joiner.connect(2, &[3]).await);
}

async fn content_reaches_only_other_end_of_its_link(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { member: mut first, joiner: mut middle, link: upper } = BoundPair::open(&*server).await;
    assert!(middle.connect(2, &[1]).await);
    let mut last = server.open("K").await;
    assert!(!last.connect(3, &[]).await);
    assert!(!last.connect(3, &[]).await);
    last.send_content(0, "offer").await;
    let (lower, offer) = middle.recv_content().await;
    assert_eq!(offer, "offer");
    middle.send_content(lower, "for the last peer").await;
    assert_eq!(last.recv_content().await, (lower, "for the last peer".into()));
    middle.send_content(0, "for the first peer").await;
    assert_eq!(first.recv_content().await, (upper, "for the first peer".into()));
}

async fn binding_to_another_member_ends_old_link_without_notice(adapter: Adapter) {
    let server = adapter.start().await;
    let BoundPair { member: mut one, mut joiner, link: old } = BoundPair::open(&*server).await;
    let mut two = server.open("K").await;
    assert!(two.connect(9, &[1]).await);
    assert!(!joiner.connect(2, &[]).await);
    one.send_content(old, "dropped").await;
    assert!(one.connect(1, &[9]).await);
    joiner.send_content(0, "new").await;
    let (new, data) = two.recv_content().await;
    assert_ne!(new, old);
    assert_eq!(data, "new");
    two.send_content(new, "reply").await;
    assert_eq!(joiner.recv_content().await, (new, "reply".into()));
}

async fn link_ids_are_below_two_to_the_31(adapter: Adapter) {
    let server = adapter.start().await;
    let mut member = server.open("K").await;
    assert!(member.connect(1, &[]).await);
    for id in 2..40 {
        let mut joiner = server.open("K").await;
        assert!(!joiner.connect(id, &[]).await);
        joiner.send_content(0, "x").await;
        let (link, data) = member.recv_content().await;
        assert!(link != 0 && link >> 31 == 0, "{link}");
        assert_eq!(data, "x");
        drop(joiner);
        assert_eq!(member.recv_content().await, (link, "".into()));
    }
}
