//! Tests of the room.

use super::*;
use crate::protocol::MemberId;

fn room() -> Room {
    Room::new(GroupKey::new("key").expect("a valid key"), 0, Arc::default(), Arc::default())
}

fn join(room: &Room, peer: u64) -> Arc<Outbox> {
    let outbox = Outbox::new(Arc::default());
    room.join(PeerId(peer), &Arc::new(PeerSlot::of("key")), &outbox);
    outbox
}

fn connect(room: &Room, peer: u64) -> Outcome {
    connect_naming(room, peer, &[])
}

fn connect_naming(room: &Room, peer: u64, named: &[u32]) -> Outcome {
    let members = named.iter().copied().map(MemberId).collect();
    room.handle(PeerId(peer), Request::Connect { id: MemberId(peer as u32), members }, Duration::ZERO)
}

fn send(room: &Room, peer: u64, bytes: usize) -> Outcome {
    let request = Request::Content { recipient: 0, last: false, data: vec![0; bytes].into() };
    room.handle(PeerId(peer), request, Duration::ZERO)
}

/// A room with a member, and joiners that are bound to it. Peer 0 is the member.
fn bound(joiners: u64) -> (Room, Vec<Arc<Outbox>>) {
    let config = Config { max_outbox_bytes: 10_000, ..Config::default() };
    let key = GroupKey::new("key").expect("a valid key");
    let room = Room::new(key, 0, Arc::new(config), Arc::default());
    let outboxes = (0..=joiners).map(|peer| {
        let outbox = join(&room, peer);
        connect(&room, peer);
        outbox
    });
    let outboxes = outboxes.collect();
    (room, outboxes)
}

fn close_codes(outboxes: &[Arc<Outbox>]) -> Vec<Option<CloseCode>> {
    outboxes.iter().map(|outbox| outbox.close_code()).collect()
}

#[test]
fn peer_that_fills_an_outbox_is_closed_and_the_messages_of_others_stay() {
    let (room, outboxes) = bound(2);
    send(&room, 1, 3000);
    send(&room, 2, 5000);
    assert_eq!(send(&room, 2, 3000), Outcome::Relayed { bytes: 3000 });
    assert_eq!(send(&room, 2, 0), Outcome::Nothing, "the peer is closed, though its task does not know it yet");
    assert_eq!(close_codes(&outboxes), [None, None, Some(CloseCode::Policy)]);
    // The answer to the member's connect, and the content of the other joiner.
    assert_eq!(outboxes[0].queued().0, 2);
    room.leave(PeerId(2), Duration::ZERO);
    assert_eq!(outboxes[0].queued().0, 3, "the end of the link to the closed peer");
    send(&room, 1, 3000);
    assert_eq!(close_codes(&outboxes), [None, None, Some(CloseCode::Policy)]);
}

#[test]
fn message_that_overflows_an_outbox_is_queued_if_another_peer_filled_it() {
    let (room, outboxes) = bound(2);
    send(&room, 2, 9000);
    send(&room, 1, 2000);
    assert_eq!(close_codes(&outboxes), [None, None, Some(CloseCode::Policy)]);
    let (messages, bytes) = outboxes[0].queued();
    assert_eq!((messages, bytes / 1000), (2, 2));
}

#[test]
fn receiver_of_many_senders_is_closed_if_none_filled_its_outbox() {
    let (room, outboxes) = bound(3);
    for joiner in 1..=3 {
        send(&room, joiner, 3500);
    }
    assert_eq!(close_codes(&outboxes), [Some(CloseCode::TryAgainLater), None, None, None]);
    assert_eq!(outboxes[0].queued(), (0, 0));
}

#[test]
fn messages_of_a_peer_that_left_do_not_close_their_receiver() {
    let (room, outboxes) = bound(2);
    send(&room, 2, 9000);
    room.leave(PeerId(2), Duration::ZERO);
    send(&room, 1, 2000);
    assert_eq!(close_codes(&outboxes), [None; 3]);
    assert_eq!(outboxes[0].queued().0, 3, "an answer, the end of a link, and a content");
}

#[test]
fn peer_that_does_not_read_its_own_answers_is_closed() {
    let (room, outboxes) = bound(1);
    for _ in 0..200 {
        connect_naming(&room, 1, &[0]);
    }
    assert_eq!(close_codes(&outboxes), [None, Some(CloseCode::TryAgainLater)]);
}

#[test]
fn leave_of_a_member_with_many_joiners_leaks_no_memory() {
    let room = room();
    for peer in 1..=1000 {
        join(&room, peer);
        connect(&room, peer);
    }
    room.leave(PeerId(1), Duration::ZERO);
    assert_eq!(room.link_ids.in_use(), 0);
    let kept = room.lock().actions.capacity();
    assert!(kept <= 2 * KEPT_CAPACITY, "{kept}");
}

#[test]
fn panic_in_a_group_closes_its_peers_and_leaves_the_room_usable() {
    let room = room();
    let before = [join(&room, 1), join(&room, 2)];
    assert_eq!(connect(&room, 1), Outcome::Answered { member: true });
    assert_eq!(connect(&room, 2), Outcome::Answered { member: false });
    assert_eq!(room.link_ids.in_use(), 1);
    let bug = || join(&room, 1);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(bug)).expect_err("a peer must not join twice");

    let after = join(&room, 3);
    assert_eq!(before.map(|outbox| outbox.close_code()), [Some(CloseCode::Internal); 2]);
    assert_eq!(room.link_ids.in_use(), 0);
    // The tasks of the closed peers still send a request, and then leave.
    assert_eq!(connect(&room, 1), Outcome::Nothing);
    room.leave(PeerId(1), Duration::ZERO);
    assert_eq!(connect(&room, 3), Outcome::Answered { member: true });
    assert_eq!((after.close_code(), room.link_ids.in_use()), (None, 0));
}

#[test]
fn eviction_min_age_protects_a_member_also_after_a_panic_in_the_group() {
    let config = Config { eviction_min_age: Duration::from_secs(1), ..Config::default() };
    let room = Room::new(GroupKey::new("key").expect("a valid key"), 0, Arc::new(config), Arc::default());
    join(&room, 1);
    let bug = || join(&room, 1);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(bug)).expect_err("a peer must not join twice");

    let [member, _joiner] = [join(&room, 3), join(&room, 4)];
    assert_eq!(connect(&room, 3), Outcome::Answered { member: true });
    for _ in 0..3 {
        assert_eq!(connect(&room, 4), Outcome::Answered { member: false });
    }
    assert_eq!(member.close_code(), None);
}
