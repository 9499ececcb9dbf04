//! WebSocket frames, byte by byte.

use std::time::Duration;

use sigver::{Cause, SignalingHub};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::door::{Door, Kind};
use crate::http::{HANDSHAKE, KEY, VERSION};
use crate::limits::build;

crate::over_every_websocket! {
    a_ping_is_answered
    the_peers_own_close_code_comes_back
    a_frame_that_breaks_rfc_6455_is_1002
}

// Where the bytes that follow can be swallowed, and the hub's limits be set.
crate::over! {
    [hyper: Hyper, axum: Axum, warp: Warp, app_hyper: AppHyper]
    after_a_broken_frame_the_peer_sees_the_end_and_need_not_wait
}

// Where the hub's own adapter reads the socket.
crate::over! {
    [hyper: Hyper, axum: Axum, warp: Warp]
    fragments_are_counted_too_and_too_many_are_1008
}

crate::over_every_socket! {
    what_follows_an_oversized_header_is_swallowed_so_that_no_reset_eats_the_code
}

/// An accepted handshake, and after it these bytes; returns all that the server sends until it hangs up.
async fn frames(door: &dyn Door, frames: &[u8]) -> Vec<u8> {
    let mut socket = door.socket().await;
    let request = format!("GET {}/K HTTP/1.1\r\n{HANDSHAKE}{KEY}{VERSION}\r\n", door.mount());
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    socket.write_all(frames).await.expect("the server reads");
    let mut all = Vec::new();
    // A TLS peer that is dropped says no goodbye of its own; what it sent before is what counts.
    let _ = socket.read_to_end(&mut all).await;
    let head = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a response");
    all.split_off(head + 4)
}

async fn a_ping_is_answered(kind: Kind) {
    let door = kind.open().await;
    // A ping with the payload "hi", and a close with 1000; masked with zeroes.
    let sent = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    assert_eq!(frames(&*door, &sent).await, [0x8a, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
}

async fn the_peers_own_close_code_comes_back(kind: Kind) {
    let door = kind.open().await;
    for code in [1000_u16, 1001, 3000, 4744, 4999] {
        let [high, low] = code.to_be_bytes();
        let sent = [0x88, 0x82, 0, 0, 0, 0, high, low];
        assert_eq!(frames(&*door, &sent).await, [0x88, 2, high, low]);
    }
    assert_eq!(frames(&*door, &[0x88, 0x80, 0, 0, 0, 0]).await, [0x88, 0]);
}

async fn a_frame_that_breaks_rfc_6455_is_1002(kind: Kind) {
    let door = kind.open().await;
    let unmasked: &[u8] = &[0x82, 2, 0x08, 1];
    let reserved_opcode: &[u8] = &[0x83, 0x80, 0, 0, 0, 0];
    let reserved_bit: &[u8] = &[0xc2, 0x80, 0, 0, 0, 0];
    let mut long_ping = vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0];
    long_ping.resize(long_ping.len() + 126, 0);
    for broken in [unmasked, reserved_opcode, reserved_bit, &long_ping] {
        let answer = frames(&*door, broken).await;
        assert_eq!((answer[0], &answer[2..4]), (0x88, &1002_u16.to_be_bytes()[..]), "{broken:?}: {answer:?}");
    }
}

async fn after_a_broken_frame_the_peer_sees_the_end_and_need_not_wait(kind: Kind) {
    let builder = SignalingHub::builder().close_timeout(Duration::from_secs(3600));
    let door = kind.mount(builder.build().expect("sound limits")).await;
    // `frames` returns when the server has hung up.
    let answer = frames(&*door, &[0x83, 0x80, 0, 0, 0, 0]).await;
    assert_eq!((answer[0], &answer[2..4]), (0x88, &1002_u16.to_be_bytes()[..]), "{answer:?}");
}

async fn what_follows_an_oversized_header_is_swallowed_so_that_no_reset_eats_the_code(kind: Kind) {
    let door = kind.open().await;
    let length = 10_000_000_u64;
    let mut message = vec![0x82, 0xff];
    message.extend(length.to_be_bytes());
    message.extend([0; 4]);
    message.resize(message.len() + length as usize, 0);
    // `frames` fails when the server does not take all of it.
    let answer = frames(&*door, &message).await;
    assert_eq!((answer[0], &answer[2..4]), (0x88, &1009_u16.to_be_bytes()[..]), "{answer:?}");
}

async fn fragments_are_counted_too_and_too_many_are_1008(kind: Kind) {
    let hub = build(SignalingHub::builder().messages_per_second(1000));
    let door = kind.mount(hub.clone()).await;
    // The first fragment of a message, and continuations without a byte or an end.
    let mut flood = vec![0x02, 0x80, 0, 0, 0, 0];
    flood.extend([0x00, 0x80, 0, 0, 0, 0].repeat(20_000));
    let answer = frames(&*door, &flood).await;
    assert_eq!((answer[0], &answer[2..4]), (0x88, &1008_u16.to_be_bytes()[..]), "{answer:?}");
    assert_eq!(hub.stats().rejections.get(Cause::MessagesPerSecond), 1);
    // As many as may be are one message.
    let mut fair = vec![0x02, 0x80, 0, 0, 0, 0];
    fair.extend([0x00, 0x80, 0, 0, 0, 0].repeat(900));
    fair.extend([0x80, 0x82, 0, 0, 0, 0, 0x08, 1, 0x88, 0x80, 0, 0, 0, 0]);
    assert_eq!(frames(&*door, &fair).await, [0x88, 0], "a heartbeat in 902 fragments, and a close");
}
