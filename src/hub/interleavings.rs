//! Concurrency tests: `RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/shuttle --lib interleavings`

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use shuttle::future::block_on;
use shuttle::{check_dfs, check_pct, check_random, thread};

use super::close::Close;
use super::connection::peer_guard::PeerGuard;
use super::limits::config::Config;
use super::limits::draining::Draining;
use super::observability::stats::HubStats;
use super::rooms::outbox::Outbox;
use super::shared::SignalingHub;
use super::sync::Mutex;
use crate::protocol::{CloseCode, MemberId, Message, Request};

/// Runs many interleavings of a test that has too many to run all: at random, and with few switches between threads.
fn check_many(run: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(run, 4000);
    check_pct(run, 4000, 3);
}

/// Takes frames until `enough` of them were taken or the peer is closed. A lost wake-up is a deadlock, which shuttle
/// reports.
async fn take(outbox: &Outbox, enough: impl Fn(&[Bytes]) -> bool) -> (Vec<Bytes>, Option<CloseCode>) {
    let mut taken = Vec::new();
    while !enough(&taken) {
        let mut batch = VecDeque::new();
        let result = poll_fn(|cx| outbox.poll_take(&mut batch, cx)).await;
        taken.extend(batch);
        if let Err(close) = result {
            let mut remaining = VecDeque::new();
            outbox.take_remaining(&mut remaining);
            taken.extend(remaining);
            return (taken, Some(close.code()));
        }
    }
    (taken, None)
}

/// Waits for the close code, as the task of a peer that is not writable does.
async fn closed(outbox: &Outbox) -> CloseCode {
    poll_fn(|cx| outbox.poll_closed(cx)).await.code()
}

fn push(outbox: &Arc<Outbox>, frames: &'static [&'static str]) -> thread::JoinHandle<()> {
    let outbox = outbox.clone();
    let push = move || frames.iter().for_each(|&frame| outbox.push(frame.into(), &Config::default()));
    thread::spawn(push)
}

#[test]
fn every_pushed_frame_is_taken() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            push(&outbox, &["a"]);
            push(&outbox, &["b"]);
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
        let outbox = Arc::new(Outbox::default());
        let closing = outbox.clone();
        let close = thread::spawn(move || {
            closing.push("before".into(), &Config::default());
            closing.close(CloseCode::GoingAway.into());
            closing.push("after".into(), &Config::default());
        });
        let other = push(&outbox, &["other", "other"]);
        let (mut taken, closed) = block_on(take(&outbox, |_| false));
        assert_eq!(closed, Some(CloseCode::GoingAway));
        taken.retain(|frame| frame != "other");
        assert_eq!(taken, ["before"]);
        for thread in [close, other] {
            thread.join().expect("the thread does not panic");
        }
        let mut late = VecDeque::new();
        outbox.take_remaining(&mut late);
        assert_eq!(late, VecDeque::<Bytes>::new());
    });
}

#[test]
fn close_wakes_a_peer_that_is_not_writable() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            let closing = outbox.clone();
            push(&outbox, &["a"]);
            thread::spawn(move || closing.close(CloseCode::GoingAway.into()));
            outbox.set_writable(false);
            assert_eq!(block_on(closed(&outbox)), CloseCode::GoingAway);
        },
        None,
    );
}

#[test]
fn overflow_wakes_a_peer_that_is_not_writable() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            outbox.set_writable(false);
            let code = block_on(async {
                let stalled = poll_fn(|cx| Poll::Ready(outbox.poll_closed(cx))).await;
                assert!(stalled.is_pending());
                for _ in 0..2 {
                    let pushing = outbox.clone();
                    let config = Config { max_outbox_messages: 1, ..Config::default() };
                    thread::spawn(move || pushing.push("two exceed the limit".into(), &config));
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
            let outbox = Arc::new(Outbox::default());
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
fn frames_pushed_while_not_writable_are_taken_when_writable_again() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            push(&outbox, &["a", "b"]);
            let (taken, closed) = block_on(async {
                outbox.set_writable(false);
                let stalled = poll_fn(|cx| Poll::Ready(outbox.poll_closed(cx))).await;
                assert!(stalled.is_pending());
                outbox.set_writable(true);
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

fn join(hub: &SignalingHub) -> Result<Box<PeerGuard>, Close> {
    let joined = hub.shared.check("key".into()).and_then(|(slot, _)| PeerGuard::new(&hub.shared, slot));
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
    let mut frames = VecDeque::new();
    outbox.take_remaining(&mut frames);
    frames.into_iter().map(|frame| Message::decode(frame).expect("a valid message")).collect()
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
fn peer_that_joins_while_the_last_peer_leaves_shares_the_group_of_the_next() {
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
        let shutdown = thread::spawn(move || closing.close_all());
        let late = join(&hub);
        shutdown.join().expect("the thread does not panic");
        for peer in [Ok(early), late].into_iter().flatten() {
            assert_eq!(peer.outbox().close_code(), Some(CloseCode::GoingAway));
        }
        assert!(join(&hub).is_err(), "the hub is draining");
    });
}
