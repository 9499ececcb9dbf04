//! Who becomes a member of a group, and whom a joiner is bound to.

use sigver::memory::Heard;
use sigver::protocol::Message;

use crate::door::{Kind, Peer};

crate::over_every_door! {
    the_first_peer_is_admitted_and_the_next_is_bound_to_it
    the_sole_member_is_told_true_again
    naming_a_member_admits
    a_member_that_names_nobody_is_put_out_and_bound
    members_are_offered_in_turn_with_favored_ones_first
    a_blocking_member_is_replaced_and_closed_with_4744
    groups_with_other_keys_do_not_meet
    each_connect_is_answered_once_in_order
}

/// The member that `joiner` is bound to is among `members`: the one that hears what the joiner says.
async fn bound_to(joiner: &mut Peer, members: &mut [&mut Peer]) -> usize {
    joiner.send_content(0, "who is it?").await;
    let (heard, index, _) =
        futures::future::select_all(members.iter_mut().map(|member| Box::pin(member.recv_content()))).await;
    assert_eq!(heard.1, "who is it?");
    index
}

async fn the_first_peer_is_admitted_and_the_next_is_bound_to_it(kind: Kind) {
    let door = kind.open().await;
    let [mut one, mut two] = [door.open("K").await, door.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(!two.connect(2, &[]).await);
    assert_eq!(bound_to(&mut two, &mut [&mut one]).await, 0);
}

async fn the_sole_member_is_told_true_again(kind: Kind) {
    let door = kind.open().await;
    let mut one = door.open("K").await;
    for members in [&[][..], &[], &[7]] {
        assert!(one.connect(1, members).await);
    }
}

async fn naming_a_member_admits(kind: Kind) {
    let door = kind.open().await;
    let [mut one, mut two] = [door.open("K").await, door.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(!two.connect(2, &[7]).await);
    assert!(two.connect(2, &[7, 1]).await);
    assert!(one.connect(1, &[2]).await);
}

async fn a_member_that_names_nobody_is_put_out_and_bound(kind: Kind) {
    let door = kind.open().await;
    let [mut one, mut two] = [door.open("K").await, door.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(two.connect(2, &[1]).await);
    assert!(!one.connect(1, &[]).await);
    assert_eq!(bound_to(&mut one, &mut [&mut two]).await, 0);
}

async fn members_are_offered_in_turn_with_favored_ones_first(kind: Kind) {
    let door = kind.open().await;
    let [mut one, mut two] = [door.open("K").await, door.open("K").await];
    let [mut favored, mut joiner] = [door.open("K?favored").await, door.open("K").await];
    assert!(one.connect(1, &[]).await);
    assert!(two.connect(2, &[1]).await);
    assert!(favored.connect(3, &[1]).await);
    for member in [2, 0, 1, 2] {
        assert!(!joiner.connect(4, &[]).await);
        assert_eq!(bound_to(&mut joiner, &mut [&mut one, &mut two, &mut favored]).await, member);
    }
}

async fn a_blocking_member_is_replaced_and_closed_with_4744(kind: Kind) {
    let door = kind.open().await;
    let [mut blocking, mut joiner] = [door.open("K").await, door.open("K").await];
    assert!(blocking.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    assert!(joiner.connect(2, &[]).await);
    assert_eq!(blocking.recv_close().await, 4744);
    // Once the blocking member's socket is closed, its link is over.
    assert_eq!(joiner.recv_content().await.1, "");
    let mut next = door.open("K").await;
    assert!(!next.connect(3, &[1]).await, "the old member is gone");
    assert_eq!(bound_to(&mut next, &mut [&mut joiner]).await, 0);
}

async fn groups_with_other_keys_do_not_meet(kind: Kind) {
    let door = kind.open().await;
    let mut peers = [door.open("K").await, door.open("k").await, door.open("K/").await];
    for peer in &mut peers {
        assert!(peer.connect(1, &[]).await);
    }
}

async fn each_connect_is_answered_once_in_order(kind: Kind) {
    let door = kind.open().await;
    let [mut one, mut two] = [door.open("K").await, door.open("K").await];
    assert!(one.connect(1, &[]).await);
    for members in [&[][..], &[1], &[], &[2]] {
        two.connect(2, members).await;
    }
    // The third is asked by a member that names nobody, the fourth by a joiner that names itself only.
    let mut answers = Vec::new();
    while answers.len() < 3 {
        match two.recv().await {
            Heard::Message(Message::Connected(admitted)) => answers.push(admitted),
            other => panic!("expected an answer, but heard {other:?}"),
        }
    }
    assert_eq!(answers, [false, true, false]);
    // Bound to the one member again, it asks once more: that member blocks.
    assert!(matches!(two.recv().await, Heard::Message(Message::Connected(true))));
    assert_eq!(one.recv_close().await, 4744);
}
