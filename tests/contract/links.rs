//! What goes along a link.

use bytes::Bytes;

use crate::door::{Door, Kind, Peer};

crate::over_every_door! {
    content_goes_both_ways_unchanged
    last_data_ends_its_direction_only
    the_end_is_told_when_a_socket_closes
    no_end_is_told_in_a_direction_that_is_over
    content_with_nobody_to_go_to_is_dropped
    a_member_hears_nothing_that_is_for_its_joiners_joiner
    binding_again_ends_the_old_link_in_silence
    link_ids_stay_below_two_to_the_31
}

/// A member, a joiner that is bound to it, and their link.
async fn pair(door: &dyn Door) -> (Peer, Peer, u32) {
    let [mut member, mut joiner] = [door.open("K").await, door.open("K").await];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "hello").await;
    let (link, hello) = member.recv_content().await;
    assert_eq!(hello, "hello");
    (member, joiner, link)
}

async fn content_goes_both_ways_unchanged(kind: Kind) {
    let door = kind.open().await;
    let (mut member, mut joiner, link) = pair(&*door).await;
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

async fn last_data_ends_its_direction_only(kind: Kind) {
    let door = kind.open().await;
    let (mut member, mut joiner, link) = pair(&*door).await;
    joiner.send_last_content(0, "last").await;
    assert_eq!(member.recv_content().await, (link, "last".into()));
    joiner.send_content(0, "dropped").await;
    // The answer tells that what came before it was handled.
    assert!(joiner.connect(2, &[1]).await);
    member.send_content(link, "still open").await;
    assert_eq!(joiner.recv_content().await, (link, "still open".into()));
    assert!(member.connect(1, &[2]).await, "and heard nothing in between");
}

async fn the_end_is_told_when_a_socket_closes(kind: Kind) {
    let door = kind.open().await;
    let (mut member, joiner, link) = pair(&*door).await;
    joiner.close().await;
    assert_eq!(member.recv_content().await, (link, "".into()));

    let mut joiner = door.open("K").await;
    assert!(!joiner.connect(3, &[]).await);
    drop(member);
    assert_eq!(joiner.recv_content().await.1, "");
}

async fn no_end_is_told_in_a_direction_that_is_over(kind: Kind) {
    let door = kind.open().await;
    let (mut member, mut joiner, link) = pair(&*door).await;
    joiner.send_last_content(0, "last").await;
    assert_eq!(member.recv_content().await, (link, "last".into()));
    assert!(joiner.connect(2, &[1]).await);
    // Somebody who is bound to the joiner is told when the joiner's leave has been handled.
    let mut witness = door.open("K").await;
    assert!(!witness.connect(3, &[]).await);
    assert!(!witness.connect(3, &[]).await);
    joiner.close().await;
    assert_eq!(witness.recv_content().await.1, "");
    assert!(member.connect(1, &[]).await, "and heard nothing in between");
}

async fn content_with_nobody_to_go_to_is_dropped(kind: Kind) {
    let door = kind.open().await;
    let (mut member, mut joiner, link) = pair(&*door).await;
    let mut stranger = door.open("K").await;
    for recipient in [0, 1, 2, link, u32::MAX] {
        stranger.send_content(recipient, "from nobody").await;
    }
    for recipient in [0, 1, 2, u32::MAX] {
        member.send_content(recipient, "to nobody").await;
    }
    for recipient in [2, link, u32::MAX] {
        joiner.send_content(recipient, "to nobody").await;
    }
    assert!(stranger.connect(3, &[1]).await);
    assert!(member.connect(1, &[3]).await);
    assert!(joiner.connect(2, &[3]).await);
}

async fn a_member_hears_nothing_that_is_for_its_joiners_joiner(kind: Kind) {
    let door = kind.open().await;
    let (mut member, mut middle, first) = pair(&*door).await;
    assert!(middle.connect(2, &[1]).await);
    let mut last = door.open("K").await;
    assert!(!last.connect(3, &[]).await);
    assert!(!last.connect(3, &[]).await);
    last.send_content(0, "offer").await;
    let (second, offer) = middle.recv_content().await;
    assert_eq!(offer, "offer");
    middle.send_content(second, "for the last one").await;
    assert_eq!(last.recv_content().await, (second, "for the last one".into()));
    middle.send_content(0, "for the first one").await;
    assert_eq!(member.recv_content().await, (first, "for the first one".into()));
}

async fn binding_again_ends_the_old_link_in_silence(kind: Kind) {
    let door = kind.open().await;
    let (mut one, mut joiner, old) = pair(&*door).await;
    let mut two = door.open("K").await;
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

async fn link_ids_stay_below_two_to_the_31(kind: Kind) {
    let door = kind.open().await;
    let mut member = door.open("K").await;
    assert!(member.connect(1, &[]).await);
    for id in 2..40 {
        let mut joiner = door.open("K").await;
        assert!(!joiner.connect(id, &[]).await);
        joiner.send_content(0, "x").await;
        let (link, data) = member.recv_content().await;
        assert!(link != 0 && link >> 31 == 0, "{link}");
        assert_eq!(data, "x");
        drop(joiner);
        assert_eq!(member.recv_content().await, (link, "".into()));
    }
}
