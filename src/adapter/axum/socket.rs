//! WebSockets that the app has upgraded with axum.

use ::axum::extract::ws::{CloseFrame as WsCloseFrame, Message, WebSocket, WebSocketUpgrade};
use futures::{SinkExt as _, StreamExt as _};

use crate::SignalingHub;
use crate::adapter::websocket::into_transport_error;
use crate::transport::{CloseFrame, Frame, Transport, TransportError};

/// Applies the hub's buffer sizes and limits to an upgrade that the app performs.
///
/// axum's defaults allow messages of 64 MiB and use 140 KB for each idle peer.
pub fn configure<F>(upgrade: WebSocketUpgrade<F>, hub: &SignalingHub) -> WebSocketUpgrade<F> {
    let config = hub.config().websocket_config();
    upgrade
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(config.max_write_buffer_size)
        .max_message_size(hub.config().max_message_bytes)
        .max_frame_size(hub.config().max_message_bytes)
}

/// Returns a transport for [`SignalingHub::serve`] over a WebSocket that the app upgraded itself. Call [`configure`]
/// before the upgrade.
///
/// axum assembles fragmented messages before the hub sees them, so `messages_per_second` counts whole messages and not
/// their fragments. A peer can send fragments as fast as its connection allows, which costs CPU time. On the public
/// internet, prefer [`router`](super::router), [`handler`](super::handler) or [`upgrade_with`](super::upgrade_with),
/// which count both.
///
/// axum gives no access to the bytes after a malformed frame. A peer that keeps sending after such a frame may see a
/// connection reset before it reads the close code.
pub fn transport(socket: WebSocket) -> impl Transport<Err = TransportError> + Unpin {
    socket
        .map(|message| message.map(into_frame).map_err(into_transport_error))
        .sink_map_err(into_transport_error)
        .with(|frame: Frame| std::future::ready(Ok(from_frame(frame))))
}

fn into_frame(message: Message) -> Frame {
    match message {
        Message::Binary(bytes) => Frame::Binary(bytes),
        Message::Text(text) => Frame::Text(text.to_string()),
        Message::Ping(bytes) => Frame::Ping(bytes),
        Message::Pong(bytes) => Frame::Pong(bytes),
        Message::Close(frame) => Frame::Close(frame.map(|frame| CloseFrame::new(frame.code, frame.reason.as_str()))),
    }
}

fn from_frame(frame: Frame) -> Message {
    match frame {
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        Frame::Close(frame) => {
            Message::Close(frame.map(|CloseFrame { code, reason }| WsCloseFrame { code, reason: reason.into() }))
        }
    }
}
