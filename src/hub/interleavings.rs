//! Concurrency tests: `RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/shuttle --lib interleavings`

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use shuttle::future::block_on;
use shuttle::{check_dfs, check_pct, check_random, thread};

use super::close::Close;
use super::connection::peer_guard::PeerGuard;
use super::limits::config::Config;
use super::limits::draining::Draining;
use super::observability::stats::HubStats;
use super::rooms::frame_queue::{FrameQueue, QueuedFrame};
use super::rooms::outbox::Outbox;
use super::rooms::outbox_budget::Holder as _;
use super::shared::SignalingHub;
use super::sync::Mutex;
use crate::protocol::{CloseCode, MemberId, Message, PeerId, Request};

/// Runs many interleavings of a test that has too many to run all: at random, and with few switches between threads.
pub(super) fn check_many(run: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(run, 4000);
    check_pct(run, 4000, 3);
}

/// Takes frames until `enough` of them were taken or the peer is closed. A lost wake-up is a deadlock, which shuttle
/// reports.
async fn take(outbox: &Outbox, enough: impl Fn(&[Bytes]) -> bool) -> (Vec<Bytes>, Option<CloseCode>) {
    let mut taken = Vec::new();
    while !enough(&taken) {
        let mut batch = FrameQueue::default();
        let result = poll_fn(|cx| outbox.poll_take(&mut batch, 0, cx)).await;
        taken.extend(batch.into_iter().map(|frame| frame.bytes));
        if let Err(close) = result {
            taken.extend(remaining(outbox));
            return (taken, Some(close.code()));
        }
    }
    (taken, None)
}

fn remaining(outbox: &Outbox) -> Vec<Bytes> {
    let mut frames = FrameQueue::default();
    outbox.take_remaining(&mut frames);
    frames.into_iter().map(|frame| frame.bytes).collect()
}

/// Polls as the task of a peer whose transport accepts no frame.
fn stall(outbox: &Outbox, cx: &mut Context<'_>) -> Poll<CloseCode> {
    match outbox.stall(&mut FrameQueue::default(), None, &Config::default(), cx) {
        Ok(_) => Poll::Pending,
        Err(close) => Poll::Ready(close.code()),
    }
}

/// Waits for the close code, as the task of a stalled peer does.
async fn closed(outbox: &Outbox) -> CloseCode {
    poll_fn(|cx| stall(outbox, cx)).await
}

fn new_outbox() -> Arc<Outbox> {
    Outbox::new(Arc::default())
}

fn push(outbox: &Outbox, frame: &'static str) {
    let frame = QueuedFrame::new(frame.into(), PeerId(0), Duration::ZERO);
    outbox.push(frame, &Config::default()).expect("the outbox is not full");
}

fn push_in_thread(outbox: &Arc<Outbox>, frames: &'static [&'static str]) -> thread::JoinHandle<()> {
    let outbox = outbox.clone();
    thread::spawn(move || frames.iter().for_each(|&frame| push(&outbox, frame)))
}

#[test]
fn every_pushed_frame_is_taken() {
    check_dfs(
        || {
            let outbox = new_outbox();
            push_in_thread(&outbox, &["a"]);
            push_in_thread(&outbox, &["b"]);
            let (mut taken, closed) = block_on(take(&outbox, |taken| taken.len() == 2));
            taken.sort();
            assert_eq!((taken, closed), (vec!["a".into(), "b".into()], None));
        },
        None,
    );
}

#[test]
fn close_follows_the_frames_pushed_before_it_and_later_frames_are_ignored() {
    check_many(|| {
        let outbox = new_outbox();
        let closing = outbox.clone();
        let close = thread::spawn(move || {
            push(&closing, "before");
            closing.close(CloseCode::GoingAway.into());
            push(&closing, "after");
        });
        let other = push_in_thread(&outbox, &["other", "other"]);
        let (mut taken, closed) = block_on(take(&outbox, |_| false));
        assert_eq!(closed, Some(CloseCode::GoingAway));
        taken.retain(|frame| frame != "other");
        assert_eq!(taken, ["before"]);
        for thread in [close, other] {
            thread.join().expect("the thread does not panic");
        }
        assert_eq!(remaining(&outbox), Vec::<Bytes>::new());
    });
}

#[test]
fn close_wakes_a_stalled_peer() {
    check_dfs(
        || {
            let outbox = new_outbox();
            let closing = outbox.clone();
            push_in_thread(&outbox, &["a"]);
            thread::spawn(move || closing.close(CloseCode::GoingAway.into()));
            assert_eq!(block_on(closed(&outbox)), CloseCode::GoingAway);
        },
        None,
    );
}

#[test]
fn close_of_a_full_outbox_wakes_a_stalled_peer() {
    check_dfs(
        || {
            let outbox = new_outbox();
            let code = block_on(async {
                assert!(poll_fn(|cx| Poll::Ready(stall(&outbox, cx))).await.is_pending());
                for _ in 0..2 {
                    let full = outbox.clone();
                    let config = Config { max_outbox_messages: 1, ..Config::default() };
                    thread::spawn(move || {
                        let frame = QueuedFrame::new("two exceed the limit".into(), PeerId(0), Duration::ZERO);
                        if full.push(frame, &config).is_err() {
                            full.close_full(CloseCode::TryAgainLater.into());
                        }
                    });
                }
                closed(&outbox).await
            });
            assert_eq!(code, CloseCode::TryAgainLater);
        },
        None,
    );
}

#[test]
fn first_of_two_closes_is_final() {
    check_dfs(
        || {
            let outbox = new_outbox();
            for code in [CloseCode::GoingAway, CloseCode::BlockingMember] {
                let closing = outbox.clone();
                thread::spawn(move || closing.close(code.into()));
            }
            let code = block_on(closed(&outbox));
            assert_eq!(block_on(closed(&outbox)), code);
        },
        None,
    );
}

#[test]
fn frames_pushed_while_stalled_are_taken_later() {
    check_dfs(
        || {
            let outbox = new_outbox();
            push_in_thread(&outbox, &["a", "b"]);
            let (taken, closed) = block_on(async {
                assert!(poll_fn(|cx| Poll::Ready(stall(&outbox, cx))).await.is_pending());
                take(&outbox, |taken| taken.len() == 2).await
            });
            assert_eq!((taken, closed), (vec!["a".into(), "b".into()], None));
        },
        None,
    );
}

#[test]
fn drain_or_joining_peer_sees_the_other() {
    check_dfs(
        || {
            let draining = Arc::new(Draining::default());
            let room = Arc::new(Mutex::new(false));
            let (joining_draining, joining_room) = (draining.clone(), room.clone());
            let join = thread::spawn(move || {
                *joining_room.lock().expect("nothing panics under this lock") = true;
                joining_draining.is_set()
            });
            draining.start();
            let drain_sees_peer = *room.lock().expect("nothing panics under this lock");
            let peer_sees_drain = join.join().expect("the thread does not panic");
            assert!(drain_sees_peer || peer_sees_drain);
        },
        None,
    );
}

pub(super) fn join(hub: &SignalingHub) -> Result<Box<PeerGuard>, Close> {
    let connection = hub.shared.count_connection(None);
    let joined =
        hub.shared.check("key".into(), &connection).and_then(|(slot, _)| PeerGuard::new(&hub.shared, slot.into()));
    joined.map_err(|rejection| rejection.close)
}

fn connect(peer: &PeerGuard, id: u32, members: &[u32]) {
    let members = members.iter().copied().map(MemberId).collect();
    peer.handle(Request::Connect { id: MemberId(id), members }, Duration::ZERO);
}

fn send(peer: &PeerGuard, data: &'static str) {
    peer.handle(Request::Content { recipient: 0, last: false, data: data.into() }, Duration::ZERO);
}

/// Returns the messages queued for a peer.
fn queued(outbox: &Outbox) -> Vec<Message> {
    remaining(outbox).into_iter().map(|frame| Message::decode(frame).expect("a valid message")).collect()
}

#[test]
fn peers_that_join_connect_send_and_leave_leak_nothing() {
    check_many(|| {
        let hub = SignalingHub::new();
        let peers = [1, 2, 3].map(|id| {
            let hub = hub.clone();
            thread::spawn(move || {
                let peer = join(&hub).expect("no limit is reached");
                connect(&peer, id, &[]);
                send(&peer, "offer");
                connect(&peer, id, &[1]);
                let outbox = peer.outbox().clone();
                drop(peer);
                outbox
            })
        });
        for outbox in peers.map(|peer| peer.join().expect("the thread does not panic")) {
            let answers = queued(&outbox).iter().filter(|message| matches!(message, Message::Connected(_))).count();
            assert!(answers == 2 || outbox.close_code() == Some(CloseCode::BlockingMember), "{answers} answers");
        }
        let HubStats { peers, groups, links, .. } = hub.stats();
        assert_eq!((peers, groups, links), (0, 0, 0));
    });
}

#[test]
fn peer_that_joins_while_the_last_peer_leaves_is_in_one_group_with_the_next_peer() {
    check_dfs(
        || {
            let hub = SignalingHub::new();
            let last = join(&hub).expect("no limit is reached");
            let leave = thread::spawn(move || drop(last));
            let peer = join(&hub).expect("no limit is reached");
            leave.join().expect("the thread does not panic");
            let next = join(&hub).expect("no limit is reached");
            connect(&peer, 1, &[]);
            connect(&next, 2, &[]);
            assert_eq!(queued(next.outbox()), [Message::Connected(false)]);
        },
        None,
    );
}

#[test]
fn contents_of_a_link_keep_their_order_and_its_end_is_last() {
    check_many(|| {
        let hub = SignalingHub::new();
        let [member, joiner] = [(); 2].map(|()| join(&hub).expect("no limit is reached"));
        connect(&member, 1, &[]);
        connect(&joiner, 2, &[]);
        thread::spawn(move || {
            send(&joiner, "offer");
            send(&joiner, "candidate");
        });
        let others = hub.clone();
        thread::spawn(move || {
            let other = join(&others).expect("no limit is reached");
            connect(&other, 3, &[1]);
        });
        let data = |frames: &[Bytes]| -> Vec<Bytes> {
            let messages = frames.iter().map(|frame| Message::decode(frame.clone()).expect("a valid message"));
            let contents = messages.filter_map(|message| match message {
                Message::Content { data, .. } => Some(data),
                _ => None,
            });
            contents.collect()
        };
        let (taken, closed) = block_on(take(member.outbox(), |taken| data(taken).last().is_some_and(Bytes::is_empty)));
        assert_eq!((data(&taken), closed), (["offer", "candidate", ""].map(Bytes::from).to_vec(), None));
    });
}

#[test]
fn peer_receives_the_messages_of_two_events_in_the_order_of_the_events() {
    check_dfs(
        || {
            let hub = SignalingHub::new();
            let [member, joiner] = [(); 2].map(|()| join(&hub).expect("no limit is reached"));
            connect(&member, 1, &[]);
            connect(&joiner, 2, &[]);
            let [member_outbox, outbox] = [&member, &joiner].map(|peer| peer.outbox().clone());
            let leave = thread::spawn(move || drop(member));
            connect(&joiner, 2, &[]);
            leave.join().expect("the thread does not panic");

            let position = queued(&outbox).iter().position(|message| *message == Message::Connected(true));
            // If the member was evicted, the answer precedes the end of the link; otherwise it follows that.
            assert_eq!(position, Some(if member_outbox.close_code().is_some() { 1 } else { 2 }));
        },
        None,
    );
}

#[test]
fn shutdown_closes_joined_peers_and_peers_that_join_meanwhile() {
    check_many(|| {
        let hub = SignalingHub::new();
        let early = join(&hub).expect("the hub is not draining");
        let closing = hub.clone();
        let shutdown = thread::spawn(move || block_on(closing.close_all()));
        let late = join(&hub);
        shutdown.join().expect("the thread does not panic");
        for peer in [Ok(early), late].into_iter().flatten() {
            assert_eq!(peer.outbox().close_code(), Some(CloseCode::GoingAway));
        }
        assert!(join(&hub).is_err(), "the hub is draining");
    });
}
