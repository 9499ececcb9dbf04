//! Dropped futures: a dropped join leaves nothing behind, a dropped `recv` loses nothing, a dropped send sent nothing.

use std::time::Duration;

use sigver::SignalingHub;
use sigver::client::{Event, Remote};
use sigver::protocol::{LinkId, MemberId, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::mpsc;
use tokio_test::{assert_pending, task};

use crate::servers::{connector, listen, open, serve};

#[tokio::test]
async fn dropped_join_closes_its_connection() {
    for scheme in ["ws", "wss"] {
        let (ends, mut ended) = mpsc::channel(1);
        let (received, mut requests) = mpsc::channel(1);
        let address = listen(move |mut socket| {
            let (ends, received) = (ends.clone(), received.clone());
            async move {
                let mut request = [0; 4096];
                let read = socket.read(&mut request).await.expect("a request");
                received.send(read).await.expect("the test waits");
                // The end of the connection, orderly or not.
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {}
                ends.send(()).await.expect("the test waits");
            }
        })
        .await;
        let connector = connector(&format!("{scheme}://{address}"));
        tokio::select! {
            result = connector.join("K") => panic!("the server does not answer, but: {result:?}"),
            read = requests.recv() => assert!(read.is_some_and(|read| read > 0)),
        }
        ended.recv().await.expect("the connection ends");
    }
}

#[tokio::test(start_paused = true)]
async fn handshake_that_is_dropped_at_any_point_leaves_no_peer() {
    let hub = SignalingHub::new();
    let connector = connector("ws://example.org/signal");
    let mut is_complete = false;
    let mut polls = 0;
    while !is_complete {
        // One byte at a time, so that the handshake has many points.
        let (client_end, server_end) = duplex(1);
        tokio::spawn(serve(server_end, hub.clone()));
        let mut join = task::spawn(connector.handshake(client_end, "K"));
        for _ in 0..polls {
            is_complete = join.poll().is_ready();
            if is_complete {
                break;
            }
            while !join.is_woken() {
                tokio::task::yield_now().await;
            }
        }
        drop(join);
        polls += 7;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(hub.stats().peers, 0, "after {polls} polls");
    }
    assert!(polls > 100, "the handshake took {polls} polls only");
}

#[tokio::test(start_paused = true)]
async fn dropped_recv_loses_no_part_of_a_message() {
    let (mut client, mut server) = open().await;
    let link = LinkId::new(7).expect("31 bits");
    let message = Message::from_joiner(link, "offer".into()).encode();
    let length = u8::try_from(message.len()).expect("a short message");
    for byte in [&[0x82, length], &message[..]].concat() {
        assert_pending!(task::spawn(client.recv()).poll());
        server.write_all(&[byte]).await.expect("the pipe has room");
    }
    let expected = Event::Content { from: Remote::Joiner(link), link, data: "offer".into() };
    assert_eq!(client.recv().await.expect("content"), expected);
}

#[tokio::test(start_paused = true)]
async fn send_that_is_dropped_before_the_transport_has_room_has_sent_nothing() {
    let (client_end, mut server_end) = duplex(512);
    let connector = connector("ws://example.org");
    let accepted = async {
        let request = crate::servers::read_request(&mut server_end).await;
        server_end.write_all(crate::servers::accept(&request).as_bytes()).await.expect("the client reads");
    };
    let (client, ()) = tokio::join!(connector.handshake(client_end, "K"), accepted);
    let mut client = client.expect("a valid handshake");
    // The first message does not fit, so the transport has no room for another one.
    assert_pending!(task::spawn(client.send_content(Remote::Member, vec![b'x'; 20_000])).poll());
    for _ in 0..10 {
        assert_pending!(task::spawn(client.send_content(Remote::Member, "dropped")).poll());
        assert_pending!(task::spawn(client.send_connect(MemberId(1), &[])).poll());
    }
    let last = async {
        client.send_heartbeat().await.expect("the server reads");
        drop(client);
    };
    let mut bytes = Vec::new();
    let (read, ()) = tokio::join!(server_end.read_to_end(&mut bytes), last);
    read.expect("the client closes the connection");
    let sizes = [Message::content(0, vec![b'x'; 20_000]).encode().len() + 8, Message::HEARTBEAT.len() + 6];
    assert_eq!(bytes.len(), sizes.iter().sum::<usize>(), "the first message and the heartbeat were sent");
}
