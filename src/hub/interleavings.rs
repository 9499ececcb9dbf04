//! Threads in every order: `RUSTFLAGS="--cfg shuttle" cargo test --target-dir target/shuttle --lib interleavings`

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use shuttle::future::block_on;
use shuttle::{check_dfs, check_pct, check_random, thread};

use super::*;
use crate::protocol::{MemberId, Message, Request};
use closing::Close;
use outbox::Outbox;

/// Goes through many orders of what is too long for all: at random, and with few changes of threads.
fn check_many(run: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(run, 4000);
    check_pct(run, 4000, 3);
}

/// Takes what waits until `enough` of it has come, or the peer is closed. A wake-up that is lost is a deadlock, which
/// shuttle tells.
async fn take(outbox: &Outbox, enough: impl Fn(&[Bytes]) -> bool) -> (Vec<Bytes>, Option<CloseCode>) {
    let mut taken = Vec::new();
    while !enough(&taken) {
        let mut batch = VecDeque::new();
        let closed = poll_fn(|cx| outbox.poll_take(&mut batch, cx)).await;
        taken.extend(batch);
        if let Err(closing) = closed {
            let mut rest = VecDeque::new();
            outbox.drain(&mut rest);
            taken.extend(rest);
            return (taken, Some(closing.code()));
        }
    }
    (taken, None)
}

/// Waits, as the task of a peer whose socket takes nothing, for the code to close it with.
async fn closed(outbox: &Outbox) -> CloseCode {
    poll_fn(|cx| outbox.poll_closed(cx)).await.code()
}

fn push(outbox: &Arc<Outbox>, frames: &'static [&'static str]) -> thread::JoinHandle<()> {
    let outbox = outbox.clone();
    let push = move || frames.iter().for_each(|&frame| outbox.push(frame.into(), &Config::default()));
    thread::spawn(push)
}

#[test]
fn all_that_is_pushed_is_taken() {
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
fn a_close_is_heard_after_what_came_before_it_and_nothing_comes_after_it() {
    check_many(|| {
        let outbox = Arc::new(Outbox::default());
        let closing = outbox.clone();
        let closes = thread::spawn(move || {
            closing.push("before".into(), &Config::default());
            closing.close(CloseCode::GoingAway.into());
            closing.push("after".into(), &Config::default());
        });
        let other = push(&outbox, &["other", "other"]);
        let (mut taken, closed) = block_on(take(&outbox, |_| false));
        assert_eq!(closed, Some(CloseCode::GoingAway));
        taken.retain(|frame| frame != "other");
        assert_eq!(taken, ["before"]);
        for thread in [closes, other] {
            thread.join().expect("it does not panic");
        }
        let mut late = VecDeque::new();
        outbox.drain(&mut late);
        assert_eq!(late, VecDeque::<Bytes>::new());
    });
}

#[test]
fn a_peer_whose_socket_takes_nothing_hears_that_it_is_closed() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            let closing = outbox.clone();
            push(&outbox, &["a"]);
            thread::spawn(move || closing.close(CloseCode::GoingAway.into()));
            let code = block_on(closed(&outbox));
            assert_eq!(code, CloseCode::GoingAway);
        },
        None,
    );
}

#[test]
fn a_peer_whose_socket_takes_nothing_hears_that_it_has_missed_something() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            let code = block_on(async {
                let stalled = poll_fn(|cx| Poll::Ready(outbox.poll_closed(cx))).await;
                assert!(stalled.is_pending());
                for _ in 0..2 {
                    let pushing = outbox.clone();
                    let config = Config { max_outbox_messages: 1, ..Config::default() };
                    thread::spawn(move || pushing.push("one too many for two".into(), &config));
                }
                closed(&outbox).await
            });
            assert_eq!(code, CloseCode::TryAgainLater);
        },
        None,
    );
}

#[test]
fn the_first_of_two_closes_counts() {
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
fn what_comes_while_the_socket_takes_nothing_is_taken_afterwards() {
    check_dfs(
        || {
            let outbox = Arc::new(Outbox::default());
            push(&outbox, &["a", "b"]);
            let stalled = poll_fn(|cx| Poll::Ready(outbox.poll_closed(cx)));
            let (taken, closed) = block_on(async {
                assert!(stalled.await.is_pending());
                take(&outbox, |taken| taken.len() == 2).await
            });
            assert_eq!((taken, closed), (vec!["a".into(), "b".into()], None));
        },
        None,
    );
}

fn seat(hub: &SignalingHub) -> Result<Box<PeerGuard>, Close> {
    let (permit, _) = hub.shared.check("key".into()).map_err(|rejection| rejection.closing)?;
    PeerGuard::take(&hub.shared, permit)
}

fn connect(seat: &PeerGuard, id: u32, members: &[u32]) {
    let members = members.iter().copied().map(MemberId).collect();
    seat.request(Request::Connect { id: MemberId(id), members }, Duration::ZERO);
}

fn say(seat: &PeerGuard, data: &'static str) {
    seat.request(Request::Content { recipient: 0, last: false, data: data.into() }, Duration::ZERO);
}

/// What waits for a peer.
fn heard(outbox: &Outbox) -> Vec<Message> {
    let mut frames = VecDeque::new();
    outbox.drain(&mut frames);
    frames.into_iter().map(|frame| Message::decode(frame).expect("a message")).collect()
}

#[test]
fn peers_who_come_ask_say_and_go_leave_nothing_behind() {
    check_many(|| {
        let hub = SignalingHub::new();
        let peers = [1, 2, 3].map(|id| {
            let hub = hub.clone();
            thread::spawn(move || {
                let seat = seat(&hub).expect("there is room");
                connect(&seat, id, &[]);
                say(&seat, "offer");
                connect(&seat, id, &[1]);
                let outbox = seat.outbox().clone();
                drop(seat);
                outbox
            })
        });
        for outbox in peers.map(|peer| peer.join().expect("it does not panic")) {
            let answers = heard(&outbox).iter().filter(|message| matches!(message, Message::Connected(_))).count();
            assert!(answers == 2 || outbox.closed() == Some(CloseCode::BlockingMember), "{answers} answers");
        }
        let HubStats { peers, groups, links, .. } = hub.stats();
        assert_eq!((peers, groups, links), (0, 0, 0));
    });
}

#[test]
fn who_comes_while_the_last_one_goes_meets_who_comes_next() {
    check_dfs(
        || {
            let hub = SignalingHub::new();
            let last = seat(&hub).expect("there is room");
            let goes = thread::spawn(move || drop(last));
            let peer = seat(&hub).expect("there is room");
            goes.join().expect("it does not panic");
            let next = seat(&hub).expect("there is room");
            connect(&peer, 1, &[]);
            connect(&next, 2, &[]);
            assert_eq!(heard(next.outbox()), [Message::Connected(false)]);
        },
        None,
    );
}

#[test]
fn contents_along_a_link_keep_their_order_and_the_end_is_last() {
    check_many(|| {
        let hub = SignalingHub::new();
        let [member, joiner] = [(); 2].map(|()| seat(&hub).expect("there is room"));
        connect(&member, 1, &[]);
        connect(&joiner, 2, &[]);
        thread::spawn(move || {
            say(&joiner, "offer");
            say(&joiner, "candidate");
        });
        let others = hub.clone();
        thread::spawn(move || {
            let other = seat(&others).expect("there is room");
            connect(&other, 3, &[1]);
        });
        let data = |frames: &[Bytes]| -> Vec<Bytes> {
            let messages = frames.iter().map(|frame| Message::decode(frame.clone()).expect("a message"));
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
fn what_comes_of_two_events_reaches_a_peer_in_their_order() {
    check_dfs(
        || {
            let hub = SignalingHub::new();
            let [member, joiner] = [(); 2].map(|()| seat(&hub).expect("there is room"));
            connect(&member, 1, &[]);
            connect(&joiner, 2, &[]);
            let [put_out, outbox] = [&member, &joiner].map(|seat| seat.outbox().clone());
            let leaves = thread::spawn(move || drop(member));
            connect(&joiner, 2, &[]);
            leaves.join().expect("it does not panic");

            let admitted_at = heard(&outbox).iter().position(|message| *message == Message::Connected(true));
            // Behind the first answer: before the member's end if it was put out, and else after that.
            assert_eq!(admitted_at, Some(if put_out.closed().is_some() { 1 } else { 2 }));
        },
        None,
    );
}

#[test]
fn a_shutdown_closes_who_was_there_and_who_comes_meanwhile() {
    check_many(|| {
        let hub = SignalingHub::new();
        let early = seat(&hub).expect("nobody is draining yet");
        let closing = hub.clone();
        let shutdown = thread::spawn(move || closing.close_all());
        let late = seat(&hub);
        shutdown.join().expect("it does not panic");
        for seat in [Ok(early), late].into_iter().flatten() {
            assert_eq!(seat.outbox().closed(), Some(CloseCode::GoingAway));
        }
        assert!(seat(&hub).is_err(), "the hub is draining");
    });
}
