//! Tests of the client against a scripted hub.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};

use super::*;
use crate::protocol::LinkId;
use crate::transport::{ChannelTransport, CloseFrame, pair};

const SECOND: Duration = Duration::from_secs(1);

fn client(capacity: usize) -> (ChannelTransport, Client<ChannelTransport>) {
    let (hub, transport) = pair(capacity);
    (hub, Client::new(transport))
}

fn link(id: u32) -> LinkId {
    LinkId::new(id).expect("31 bits")
}

async fn send(hub: &mut ChannelTransport, message: Message) {
    // A flush would wait until the client has received it.
    hub.feed(Frame::Binary(message.encode())).await.expect("the client exists");
}

/// The next message that the client sent, if there is one now.
fn sent(hub: &mut ChannelTransport) -> Option<Message> {
    match hub.next().now_or_never()?? {
        Ok(Frame::Binary(bytes)) => Some(Message::decode(bytes).expect("a message")),
        other => panic!("expected a message, got {other:?}"),
    }
}

fn content(link_id: u32, data: &'static str) -> Event {
    Event::Content { from: Remote::Joiner(link(link_id)), link: link(link_id), data: data.into() }
}

#[tokio::test]
async fn dropped_recv_loses_no_event() {
    let (mut hub, mut client) = client(4);
    for id in 1..=3 {
        // Dropped at its first waiting point.
        assert_pending!(task::spawn(client.recv()).poll());
        send(&mut hub, Message::from_joiner(link(id), "x".into())).await;
        assert_eq!(client.recv().await.expect("content"), content(id, "x"));
    }
}

#[tokio::test]
async fn dropped_recv_still_owes_the_answer_to_a_heartbeat() {
    // The channel has room for one message per sender and one more.
    let (mut hub, mut client) = client(0);
    client.send_heartbeat().now_or_never();
    send(&mut hub, Message::Heartbeat).await;
    assert_pending!(task::spawn(client.recv()).poll());
    assert_eq!(sent(&mut hub), Some(Message::Heartbeat));
    assert_eq!(sent(&mut hub), None);
    assert_pending!(task::spawn(client.recv()).poll());
    assert_eq!(sent(&mut hub), Some(Message::Heartbeat));
}

#[tokio::test]
async fn send_without_room_waits_and_sends_nothing_if_dropped() {
    let (mut hub, mut client) = client(0);
    // The message is in the channel, which is full now.
    assert_pending!(task::spawn(client.send_content(Remote::Member, "first")).poll());
    for remote in [Remote::Member, Remote::Joiner(link(7))] {
        assert_pending!(task::spawn(client.send_content(remote, "dropped")).poll());
        assert_pending!(task::spawn(client.send_last_content(remote, "dropped")).poll());
    }
    assert_pending!(task::spawn(client.send_connect(MemberId(1), &[])).poll());
    assert_pending!(task::spawn(client.connect(MemberId(1), &[])).poll());
    assert_pending!(task::spawn(client.send_heartbeat()).poll());

    let mut waiting = task::spawn(client.send_content(Remote::Joiner(link(7)), "second"));
    assert_pending!(waiting.poll());
    assert_eq!(sent(&mut hub), Some(Message::content(0, "first")));
    assert!(waiting.is_woken());
    assert_pending!(waiting.poll());
    assert_eq!(sent(&mut hub), Some(Message::content(7, "second")));
    assert_ready_ok!(waiting.poll());
    assert_eq!(sent(&mut hub), None);
}

#[tokio::test]
async fn connect_keeps_earlier_events_in_order() {
    let (mut hub, mut client) = client(8);
    send(&mut hub, Message::from_joiner(link(1), "a".into())).await;
    send(&mut hub, Message::from_joiner(link(2), "b".into())).await;
    send(&mut hub, Message::Connected(true)).await;
    assert!(client.connect(MemberId(1), &[]).await.expect("an answer"));
    send(&mut hub, Message::from_joiner(link(3), "c".into())).await;
    for (id, data) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(client.recv().await.expect("content"), content(id, data));
    }
}

#[tokio::test]
async fn connect_returns_its_own_answer_after_a_dropped_connect() {
    let (mut hub, mut client) = client(8);
    assert_pending!(task::spawn(client.connect(MemberId(1), &[])).poll());
    send(&mut hub, Message::Connected(false)).await;
    send(&mut hub, Message::Connected(true)).await;
    assert!(client.connect(MemberId(1), &[MemberId(2)]).await.expect("an answer"));
    assert_eq!(client.recv().await.expect("the first answer"), Event::Connected { member: false });
    assert_eq!(sent(&mut hub), Some(Message::connect(1, &[])));
    assert_eq!(sent(&mut hub), Some(Message::connect(1, &[2])));
}

#[tokio::test]
async fn connect_with_too_many_events_before_its_answer_fails() {
    let (mut hub, mut client) = client(MAX_EARLY_EVENTS + 8);
    for _ in 0..=MAX_EARLY_EVENTS {
        send(&mut hub, Message::from_joiner(link(1), "x".into())).await;
    }
    let error = client.connect(MemberId(1), &[]).await.expect_err("no answer");
    assert!(matches!(error, ClientError::TooManyEvents), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn silence_for_15_s_is_a_heartbeat_timeout() {
    let (mut hub, mut client) = client(4);
    let start = Instant::now();
    advance(10 * SECOND).await;
    send(&mut hub, Message::Heartbeat).await;
    let error = client.recv().await.expect_err("silence");
    assert!(matches!(error, ClientError::HeartbeatTimeout), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 25);
    let error = client.recv().await.expect_err("finished");
    assert!(matches!(error, ClientError::ConnectionLost(None)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn dropped_recv_does_not_extend_the_silence_timeout() {
    let (_hub, mut client) = client(4);
    let start = Instant::now();
    let error = loop {
        tokio::select! {
            event = client.recv() => break event.expect_err("silence"),
            () = sleep(4 * SECOND) => {}
        }
    };
    assert!(matches!(error, ClientError::HeartbeatTimeout), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn frames_that_arrived_before_a_late_recv_are_received() {
    let (mut hub, mut client) = client(4);
    send(&mut hub, Message::from_joiner(link(1), "x".into())).await;
    advance(60 * SECOND).await;
    assert_eq!(client.recv().await.expect("content"), content(1, "x"));
    // The timeout starts over.
    assert_pending!(task::spawn(client.recv()).poll());
}

#[tokio::test(start_paused = true)]
async fn manual_heartbeats_are_reported_and_silence_is_not_timed() {
    let (mut hub, client) = client(4);
    let mut client = client.manual_heartbeats();
    send(&mut hub, Message::Heartbeat).await;
    assert_eq!(client.recv().await.expect("a heartbeat"), Event::Heartbeat);
    assert_eq!(sent(&mut hub), None);
    advance(60 * SECOND).await;
    assert_pending!(task::spawn(client.recv()).poll());
    client.send_heartbeat().await.expect("room");
    assert_eq!(sent(&mut hub), Some(Message::Heartbeat));
}

#[tokio::test]
async fn frames_that_no_hub_sends_are_invalid() {
    for frame in [
        Frame::Text("text".to_owned()),
        Frame::Binary("garbage".into()),
        Frame::Binary(Message::content(0, "x").encode()),
        Frame::Binary(Message::connect(1, &[]).encode()),
    ] {
        let (mut hub, mut client) = client(4);
        hub.send(frame.clone()).await.expect("room");
        match client.recv().await {
            Err(ClientError::Invalid(invalid)) => assert_eq!(invalid, frame),
            other => panic!("got {other:?}"),
        }
    }
}

#[tokio::test]
async fn pings_and_pongs_are_skipped() {
    let (mut hub, mut client) = client(4);
    hub.send(Frame::Ping("x".into())).await.expect("room");
    hub.send(Frame::Pong("x".into())).await.expect("room");
    send(&mut hub, Message::Connected(true)).await;
    assert_eq!(client.recv().await.expect("an answer"), Event::Connected { member: true });
}

#[tokio::test]
async fn close_frame_is_an_error_with_its_code() {
    for frame in [None, Some(CloseFrame::new(4744, "evicted"))] {
        let (mut hub, mut client) = client(4);
        hub.send(Frame::Close(frame.clone())).await.expect("room");
        match client.recv().await {
            Err(ClientError::Closed(closed)) => assert_eq!(closed, frame),
            other => panic!("got {other:?}"),
        }
    }
}

#[tokio::test]
async fn send_after_the_hub_closed_reports_the_close_frame() {
    let (mut hub, mut client) = client(4);
    send(&mut hub, Message::from_joiner(link(1), "unread".into())).await;
    hub.send(Frame::Close(Some(CloseFrame::new(4744, "evicted")))).await.expect("room");
    drop(hub);
    match client.send_heartbeat().await {
        Err(ClientError::Closed(Some(frame))) => assert_eq!(frame.code, 4744),
        other => panic!("got {other:?}"),
    }
    let error = client.send_heartbeat().await.expect_err("finished");
    assert!(matches!(error, ClientError::ConnectionLost(None)), "{error:?}");
}

#[tokio::test]
async fn connection_that_ends_without_a_close_frame_is_lost() {
    let (hub, mut client) = client(4);
    drop(hub);
    let mut recv = task::spawn(client.recv());
    assert!(matches!(assert_ready!(recv.poll()), Err(ClientError::ConnectionLost(None))));
    drop(recv);

    let (hub, transport) = pair(4);
    drop(hub);
    let error = Client::new(transport).send_heartbeat().await.expect_err("no hub");
    assert!(matches!(error, ClientError::ConnectionLost(Some(_))), "{error:?}");
}

#[tokio::test]
async fn close_sends_a_close_frame() {
    let (mut hub, client) = client(4);
    client.close().await;
    assert!(matches!(hub.next().await, Some(Ok(Frame::Close(None)))));
    assert!(hub.next().await.is_none());
}

/// Compiles only if a task can own a client of any transport.
#[expect(dead_code, reason = "a check at compile time")]
fn futures_are_send<T: Transport + Unpin>(mut client: Client<T>) {
    fn is_send(_: impl Send) {}
    is_send(client.connect(MemberId(1), &[]));
    is_send(client.send_content(Remote::Member, ""));
    is_send(client.recv());
    is_send(client.close());
}
