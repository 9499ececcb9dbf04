//! Membership: which peer becomes a member, and which member a joiner is bound to.

use sigver::client::Event;

use crate::server::{Adapter, Peer};

crate::on_every_adapter! {
    first_peer_becomes_member_and_next_is_bound_to_it
    only_member_stays_member_on_every_connect
    peer_that_names_member_becomes_member
    member_that_names_no_member_is_bound_to_another
    members_are_selected_in_turn_with_favored_first
    blocking_member_is_evicted_with_4744
    groups_with_different_keys_are_separate
    each_connect_is_answered_once_in_order
}

/// Returns the index of the member that `joiner` is bound to.
async fn bound_to(joiner: &mut Peer, members: &mut [&mut Peer]) -> usize {
    joiner.send_content(0, "hello").await;
    let (content, index, _) =
        futures::future::select_all(members.iter_mut().map(|member| Box::pin(member.recv_content()))).await;
    assert_eq!(content.1, "hello");
    index
}

async fn first_peer_becomes_member_and_next_is_bound_to_it(adapter: Adapter) {
    let server = adapter.start().await;
    let [mut one, mut two] = [server.open("K").await, server.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(!two.connect(2, &[]).await);
    assert_eq!(bound_to(&mut two, &mut [&mut one]).await, 0);
}

async fn only_member_stays_member_on_every_connect(adapter: Adapter) {
    let server = adapter.start().await;
    let mut one = server.open("K").await;
    for members in [&[][..], &[], &[7]] {
        assert!(one.connect(1, members).await);
    }
}

async fn peer_that_names_member_becomes_member(adapter: Adapter) {
    let server = adapter.start().await;
    let [mut one, mut two] = [server.open("K").await, server.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(!two.connect(2, &[7]).await);
    assert!(two.connect(2, &[7, 1]).await);
    assert!(one.connect(1, &[2]).await);
}

async fn member_that_names_no_member_is_bound_to_another(adapter: Adapter) {
    let server = adapter.start().await;
    let [mut one, mut two] = [server.open("K").await, server.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(two.connect(2, &[1]).await);
    assert!(!one.connect(1, &[]).await);
    assert_eq!(bound_to(&mut one, &mut [&mut two]).await, 0);
}

async fn members_are_selected_in_turn_with_favored_first(adapter: Adapter) {
    let server = adapter.start().await;
    let [mut one, mut two] = [server.open("K").await, server.open("K").await];
    let [mut favored, mut joiner] = [server.open("K?favored").await, server.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(two.connect(2, &[1]).await);
    assert!(favored.connect(3, &[1]).await);
    for member in [2, 0, 1, 2] {
        assert!(!joiner.connect(4, &[]).await);
        assert_eq!(bound_to(&mut joiner, &mut [&mut one, &mut two, &mut favored]).await, member);
    }
}

async fn blocking_member_is_evicted_with_4744(adapter: Adapter) {
    let server = adapter.start().await;
    let [mut blocking, mut joiner] = [server.open("K").await, server.open("K").await];
    assert!(blocking.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    assert!(joiner.connect(2, &[]).await);
    assert_eq!(blocking.recv_close().await.code, 4744);
    // The link ends when the connection of the evicted member ends.
    assert_eq!(joiner.recv_content().await.1, "");
    let mut next = server.open("K").await;
    assert!(!next.connect(3, &[1]).await, "the evicted member is removed");
    assert_eq!(bound_to(&mut next, &mut [&mut joiner]).await, 0);
}

async fn groups_with_different_keys_are_separate(adapter: Adapter) {
    let server = adapter.start().await;
    let mut peers = [server.open("K").await, server.open("k").await, server.open("K/").await];
    for peer in &mut peers {
        assert!(peer.connect(1, &[]).await);
    }
}

async fn each_connect_is_answered_once_in_order(adapter: Adapter) {
    let server = adapter.start().await;
    let [mut one, mut two] = [server.open("K").await, server.open("K").await];
    assert!(one.connect(1, &[]).await);
    for members in [&[][..], &[1], &[], &[2]] {
        two.send_connect(2, members).await;
    }
    // The third connect comes from a member that names no member. The fourth comes from a joiner that names only
    // itself and is bound to the only member again, so that member blocks and is evicted.
    for expected in [false, true, false, true] {
        match two.recv().await {
            Ok(Event::Connected { member }) => assert_eq!(member, expected),
            other => panic!("expected an answer, but received {other:?}"),
        }
    }
    assert_eq!(one.recv_close().await.code, 4744);
}
