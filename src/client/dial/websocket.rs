//! The WebSocket of a client as a [`Transport`](crate::Transport).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::socket::Socket;
use crate::transport::websocket::{from_frame, into_frame, into_transport_error};
use crate::transport::{Frame, TransportError};

/// The default, 128 KiB, is zeroed before every read.
const READ_BUFFER: usize = 4096;

/// A larger buffer would stay allocated after a burst. At most one message exceeds it.
const WRITE_BUFFER: usize = 16 * 1024;

/// A message of the hub is larger than the peer's message that it relays, by its ids.
const IDS: usize = 1024;

/// The client side of a WebSocket over the byte stream `S`. It is the [`Transport`](crate::Transport) of a client that
/// [`join`](super::join) or a [`Connector`](super::Connector) returns.
pub struct WebSocket<S = Socket> {
    stream: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// `read` is what has been read after the response to the handshake.
    pub(super) async fn new(stream: S, read: Vec<u8>, max_message_bytes: usize) -> Self {
        let limit = Some(max_message_bytes.saturating_add(IDS));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(limit)
            .max_frame_size(limit);
        Self { stream: WebSocketStream::from_partially_read(stream, read, Role::Client, Some(config)).await }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Frame, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = self.stream.poll_next_unpin(cx);
        message.map(|message| message.map(|message| message.map(into_frame).map_err(into_transport_error)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Frame> for WebSocket<S> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stream.poll_ready_unpin(cx).map_err(into_transport_error)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.stream.start_send_unpin(from_frame(frame)).map_err(into_transport_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stream.poll_flush_unpin(cx).map_err(into_transport_error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stream.poll_close_unpin(cx).map_err(into_transport_error)
    }
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").finish_non_exhaustive()
    }
}
