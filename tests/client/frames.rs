//! Servers that misbehave after the handshake. The clock is paused.

use std::time::Duration;

use sigver::TransportError;
use sigver::client::{Client, ClientError, Event, Remote, Retry, WebSocket};
use sigver::protocol::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use crate::servers::open;

const SECOND: Duration = Duration::from_secs(1);

const BINARY: u8 = 0x82;

/// Returns a frame without a mask, as servers send it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short message").to_be_bytes();
    let header = [first, 126, length[0], length[1]];
    match payload.len() {
        length @ 0..=125 => [&[first, length as u8][..], payload].concat(),
        _ => [&header[..], payload].concat(),
    }
}

/// Returns the error of a client whose server sends these bytes and keeps the connection open.
async fn error(bytes: &[u8]) -> ClientError {
    let (mut client, mut server) = open().await;
    server.write_all(bytes).await.expect("the pipe has room");
    client.recv().await.expect_err("no event")
}

#[tokio::test(start_paused = true)]
async fn message_that_no_hub_sends_is_invalid() {
    for bytes in [frame(0x81, b"text"), frame(BINARY, b"garbage"), frame(BINARY, &Message::connect(1, &[]).encode())] {
        let error = error(&bytes).await;
        assert!(matches!(error, ClientError::Invalid(_)), "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
}

#[tokio::test(start_paused = true)]
async fn frame_that_violates_the_rfc_is_malformed() {
    let masked = [&[BINARY, 0x80 | 2, 1, 2, 3, 4][..], b"ab"].concat();
    for bytes in [
        masked,
        // A reserved bit, a reserved opcode, a fragmented ping, a continuation of nothing, and a close code of one
        // byte.
        frame(0xc2, b"x"),
        frame(0x83, b"x"),
        frame(0x09, b"x"),
        frame(0x80, b"x"),
        frame(0x88, b"x"),
        frame(0x81, b"\xff"),
        frame(0x89, &[0; 126]),
    ] {
        match error(&bytes).await {
            ClientError::ConnectionLost(Some(TransportError::Malformed(_))) => {}
            other => panic!("expected a malformed frame for {bytes:?}, got {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn length_of_a_huge_frame_is_rejected_before_its_payload() {
    for length in [65 << 20, 1 << 40, u64::MAX >> 1] {
        let error = error(&[&[BINARY, 127][..], &length.to_be_bytes()].concat()).await;
        let ClientError::ConnectionLost(Some(TransportError::MessageTooBig(_))) = error else {
            panic!("expected a message that is too big, got {error:?}")
        };
        assert_eq!(error.retry(), Retry::Later);
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_that_never_become_a_message_are_silence() {
    let (mut client, mut server) = open().await;
    let fragments = async {
        server.write_all(&frame(0x02, b"")).await.expect("the client reads");
        while server.write_all(&frame(0x00, b"")).await.is_ok() {
            sleep(SECOND / 10).await;
        }
    };
    let start = Instant::now();
    let recv = async {
        let result = client.recv().await;
        drop(client);
        result
    };
    let (result, ()) = tokio::join!(recv, fragments);
    assert!(matches!(result, Err(ClientError::HeartbeatTimeout)), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn garbage_of_any_kind_ends_the_client_without_a_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2000 {
        let (mut client, mut server) = open().await;
        let mut bytes = vec![0; random.usize(..200)];
        random.fill(&mut bytes);
        if random.bool() {
            bytes.splice(..0, frame(BINARY, &Message::HEARTBEAT));
        }
        server.write_all(&bytes).await.expect("the pipe has room");
        drop(server);
        while client.recv().await.is_ok() {}
    }
}

#[tokio::test(start_paused = true)]
async fn close_frame_with_and_without_a_code_is_reported() {
    for (payload, code) in [(&b""[..], None), (&[0x12, 0x88], Some(4744)), (b"\x03\xf5later", Some(1013))] {
        match error(&frame(0x88, payload)).await {
            ClientError::Closed(frame) => assert_eq!(frame.map(|frame| frame.code), code),
            other => panic!("expected a close frame, got {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn end_without_a_close_frame_is_a_lost_connection() {
    let (mut client, server) = open().await;
    drop(server);
    let error = client.recv().await.expect_err("the end");
    assert!(matches!(error, ClientError::ConnectionLost(_)), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
}

/// Reads the frame that the client sent: its opcode and its payload.
async fn read_frame(server: &mut DuplexStream) -> (u8, Vec<u8>) {
    let opcode = server.read_u8().await.expect("a frame");
    let length = server.read_u8().await.expect("a length");
    assert_eq!(length & 0x80, 0x80, "clients mask their frames");
    let length = match length & 0x7f {
        126 => usize::from(server.read_u16().await.expect("a length")),
        length => usize::from(length),
    };
    let mut mask = [0; 4];
    server.read_exact(&mut mask).await.expect("a mask");
    let mut payload = vec![0; length];
    server.read_exact(&mut payload).await.expect("a payload");
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    (opcode, payload)
}

#[tokio::test(start_paused = true)]
async fn heartbeats_and_pings_are_answered_in_recv() {
    let (mut client, mut server) = open().await;
    let hub = async {
        server.write_all(&frame(BINARY, &Message::HEARTBEAT)).await.expect("the client reads");
        assert_eq!(read_frame(&mut server).await, (BINARY, Message::HEARTBEAT.to_vec()));
        server.write_all(&frame(0x89, b"ping")).await.expect("the client reads");
        assert_eq!(read_frame(&mut server).await, (0x8a, b"ping".to_vec()));
        server.write_all(&frame(BINARY, &Message::Connected(true).encode())).await.expect("the client reads");
    };
    let (event, ()) = tokio::join!(client.recv(), hub);
    assert_eq!(event.expect("an answer"), Event::Connected { member: true });
}

#[tokio::test(start_paused = true)]
async fn close_of_the_client_sends_a_close_frame() {
    let (client, mut server) = open().await;
    client.close().await;
    assert_eq!(read_frame(&mut server).await, (0x88, Vec::new()));
}

/// The size of a message that carries its number.
const BYTES: usize = 10_000;

/// Sends numbered messages until one is not sent within a second. Returns the number of the next message.
async fn fill(client: &mut Client<WebSocket<DuplexStream>>, mut number: u32) -> u32 {
    loop {
        let data = [&number.to_be_bytes()[..], &[0; BYTES - 4]].concat();
        number += 1;
        match timeout(SECOND, client.send_content(Remote::Member, data)).await {
            Ok(result) => result.expect("the server is there"),
            Err(_) => return number,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_read_stops_the_client_until_it_reads() {
    let (mut client, mut server) = open().await;
    let mut number = fill(&mut client, 0).await;
    assert!((2..=105).contains(&number), "the pipe holds 1 MiB, but message {number} was sent");
    let full = number;
    for _ in 0..100 {
        let next = fill(&mut client, number).await;
        assert_eq!(next, number + 1, "no message is sent completely");
        number = next;
    }
    let last = client.send_content(Remote::Member, number.to_be_bytes().to_vec());
    let read = async {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&number) {
            let (_, payload) = read_frame(&mut server).await;
            let Ok(Message::Content { data, .. }) = Message::decode(payload.into()) else { panic!("expected content") };
            numbers.push(u32::from_be_bytes(data[..4].try_into().expect("four bytes")));
        }
        numbers
    };
    let (result, numbers) = tokio::join!(last, read);
    result.expect("the server reads");
    // Until the write buffer exceeds 16 KiB, it accepts further messages whose futures are dropped while they flush.
    // The others were not sent.
    let accepted = u32::try_from(numbers.len()).expect("few messages") - 1;
    assert!((full..=full + 2).contains(&accepted), "{accepted} messages were accepted, of which {full} fit");
    assert_eq!(numbers, (0..accepted).chain([number]).collect::<Vec<_>>());
}
