//! WebSocket frames, byte by byte.

use std::time::Duration;

use sigver::{Cause, SignalingHub};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http::{HANDSHAKE, KEY, VERSION};
use crate::server::{Adapter, TestServer};

crate::on_every_websocket! {
    ping_is_answered
    close_code_of_peer_is_echoed
    frame_that_violates_rfc_6455_closes_with_1002
}

// Adapters that can discard the bytes after the frame and whose hub is configurable.
crate::on! {
    [hyper: Hyper, axum: Axum, warp: Warp, hyper_upgraded_by_app: HyperUpgradedByApp]
    connection_ends_after_invalid_frame_without_waiting_for_peer
}

// Adapters that read the byte stream themselves.
crate::on! {
    [hyper: Hyper, axum: Axum, warp: Warp]
    fragments_over_messages_per_second_close_with_1013
}

crate::on_every_hub_handshake! {
    payload_after_oversized_header_is_discarded_so_that_close_code_arrives
}

/// Completes a handshake, sends these bytes and returns all bytes that the server sends until it ends the connection.
async fn exchange(server: &dyn TestServer, frames: &[u8]) -> Vec<u8> {
    let mut stream = server.open_stream().await;
    let request = format!("GET {}/K HTTP/1.1\r\n{HANDSHAKE}{KEY}{VERSION}\r\n", server.mount_path());
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    stream.write_all(frames).await.expect("the server reads");
    let mut all = Vec::new();
    // A dropped TLS connection ends without close_notify, which is an error here. Only the bytes before it matter.
    let _ = stream.read_to_end(&mut all).await;
    let head = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the server answers the handshake");
    all.split_off(head + 4)
}

/// Asserts that the only frame is a close with this code.
fn assert_close(answer: &[u8], code: u16) {
    assert!(answer.len() >= 4, "{answer:?}");
    assert_eq!((answer[0], &answer[2..4]), (0x88, &code.to_be_bytes()[..]), "{answer:?}");
}

async fn ping_is_answered(adapter: Adapter) {
    let server = adapter.start().await;
    // A ping with the payload "hi", and a close with 1000. The mask is zero.
    let sent = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i', 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    assert_eq!(exchange(&*server, &sent).await, [0x8a, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
}

async fn close_code_of_peer_is_echoed(adapter: Adapter) {
    let server = adapter.start().await;
    for code in [1000_u16, 1001, 3000, 4744, 4999] {
        let [high, low] = code.to_be_bytes();
        let sent = [0x88, 0x82, 0, 0, 0, 0, high, low];
        assert_eq!(exchange(&*server, &sent).await, [0x88, 2, high, low]);
    }
    assert_eq!(exchange(&*server, &[0x88, 0x80, 0, 0, 0, 0]).await, [0x88, 0]);
}

async fn frame_that_violates_rfc_6455_closes_with_1002(adapter: Adapter) {
    let server = adapter.start().await;
    let unmasked: &[u8] = &[0x82, 2, 0x08, 1];
    let reserved_opcode: &[u8] = &[0x83, 0x80, 0, 0, 0, 0];
    let reserved_bit: &[u8] = &[0xc2, 0x80, 0, 0, 0, 0];
    let mut long_ping = vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0];
    long_ping.resize(long_ping.len() + 126, 0);
    for invalid in [unmasked, reserved_opcode, reserved_bit, &long_ping] {
        assert_close(&exchange(&*server, invalid).await, 1002);
    }
}

async fn connection_ends_after_invalid_frame_without_waiting_for_peer(adapter: Adapter) {
    let builder = SignalingHub::builder().close_timeout(Duration::from_secs(3600));
    let server = adapter.start_with(builder).await;
    // `exchange` returns when the server ends the connection.
    assert_close(&exchange(&*server, &[0x83, 0x80, 0, 0, 0, 0]).await, 1002);
}

async fn payload_after_oversized_header_is_discarded_so_that_close_code_arrives(adapter: Adapter) {
    let server = adapter.start().await;
    let length = 10_000_000_u64;
    let mut message = vec![0x82, 0xff];
    message.extend(length.to_be_bytes());
    message.extend([0; 4]);
    message.resize(message.len() + length as usize, 0);
    // `exchange` fails if the server does not read all of it.
    assert_close(&exchange(&*server, &message).await, 1009);
}

async fn fragments_over_messages_per_second_close_with_1013(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().messages_per_second(1000));
    let server = adapter.mount(hub.clone()).await;
    // The first fragment of a message, and empty continuations without the final one.
    let mut flood = vec![0x02, 0x80, 0, 0, 0, 0];
    flood.extend([0x00, 0x80, 0, 0, 0, 0].repeat(20_000));
    assert_close(&exchange(&*server, &flood).await, 1013);
    assert_eq!(hub.stats().closes.get(Cause::MessagesPerSecond), 1);
    // Fewer fragments than the limit form one message.
    let mut allowed = vec![0x02, 0x80, 0, 0, 0, 0];
    allowed.extend([0x00, 0x80, 0, 0, 0, 0].repeat(900));
    allowed.extend([0x80, 0x82, 0, 0, 0, 0, 0x08, 1, 0x88, 0x80, 0, 0, 0, 0]);
    assert_eq!(exchange(&*server, &allowed).await, [0x88, 0], "a heartbeat in 902 fragments, then a close");
}
