//! A tungstenite WebSocket as a [`Transport`](crate::Transport).

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper_tungstenite::WebSocketStream;
use hyper_tungstenite::tungstenite::error::Error as WsError;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame_limiter::FrameLimitExceeded;
use crate::hub::Config;
use crate::transport::websocket::{self, from_frame, into_frame};
use crate::transport::{Frame, TransportError};

/// The size of the write buffer. Most batches fit, and a larger buffer would stay allocated after a burst.
const WRITE_BUFFER: usize = 16 * 1024;

impl Config {
    /// Returns the buffer sizes and limits for a WebSocket of this hub.
    ///
    /// tungstenite's defaults use 140 KB for each idle peer, allow messages of 64 MiB and do not bound the write
    /// buffer.
    pub(super) fn websocket_config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(self.max_write_buffer_size(WRITE_BUFFER))
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_message_bytes))
    }

    /// Returns the maximum size of the write buffer. It leaves room for one message above the size that triggers a
    /// write, and for a close frame. A message of the hub is slightly larger than the peer's message that it relays,
    /// because of its ids.
    pub(super) fn max_write_buffer_size(&self, write_buffer_size: usize) -> usize {
        write_buffer_size + self.max_message_bytes + 2048
    }
}

/// The server side of a WebSocket.
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// The peer violated the framing or a limit. Its bytes are discarded from now on.
    failed: bool,
}

impl<S> WebSocket<S> {
    pub(super) fn new(stream: WebSocketStream<S>) -> Self {
        Self { stream, failed: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Shuts down the write side and discards received bytes until the peer closes the connection.
    ///
    /// Closing a socket with unread bytes causes a TCP reset, which can discard the close frame before the peer reads
    /// it.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = self.stream.get_mut();
        // The peer closes its side in response. If it does not, the hub's close timeout ends the wait.
        let _: Poll<Result<(), _>> = Pin::new(&mut *socket).poll_shutdown(cx);
        let mut discarded = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Frame, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return self.poll_discard(cx).map(|()| None);
        }
        let Some(message) = ready!(self.stream.poll_next_unpin(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(message.map(into_frame).map_err(|error| {
            let error = into_transport_error(error);
            self.failed = !matches!(error, TransportError::ConnectionLost(_));
            error
        })))
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

/// Converts a WebSocket's error. axum and warp wrap tungstenite's error in types of their own.
pub(super) fn into_transport_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> TransportError {
    let error = error.into();
    let exceeded = match websocket::find_websocket_error(&*error) {
        Some(WsError::Io(error)) => error.get_ref().and_then(|cause| cause.downcast_ref().copied()),
        _ => None,
    };
    match exceeded {
        Some(FrameLimitExceeded::Rate) => TransportError::TooManyFrames,
        Some(FrameLimitExceeded::Length) => TransportError::MessageTooBig(error),
        None => websocket::into_transport_error(error),
    }
}

#[cfg(test)]
mod tests {
    use futures::SinkExt as _;
    use hyper_tungstenite::tungstenite::protocol::Role;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::frame_limiter::FrameLimiter;
    use super::*;
    use crate::transport::CloseFrame;

    #[tokio::test(start_paused = true)]
    async fn exceeded_frame_limit_fails_the_read_and_lets_the_close_frame_through() {
        /// The first fragment of a text, and a continuation frame. Both are masked and empty.
        const FIRST: [u8; 6] = [0x01, 0x80, 0, 0, 0, 0];
        const FRAGMENT: [u8; 6] = [0x00, 0x80, 0, 0, 0, 0];
        let (server, mut client) = tokio::io::duplex(1024);
        let limited = FrameLimiter::new(server, 3);
        let mut socket = WebSocket::new(WebSocketStream::from_raw_socket(limited, Role::Server, None).await);

        client.write_all(&[FIRST, FRAGMENT, FRAGMENT, FRAGMENT].concat()).await.expect("the pipe has room");
        assert!(matches!(socket.next().await, Some(Err(TransportError::TooManyFrames))));
        socket.send(Frame::Close(Some(CloseFrame::new(1013, "")))).await.expect("the socket is still writable");
        let mut close = [0; 4];
        client.read_exact(&mut close).await.expect("a close frame arrives");
        assert_eq!(close, [0x88, 2, 0x03, 0xf5]);

        // Later bytes are discarded until the client closes the connection.
        client.write_all(&FRAGMENT.repeat(100)).await.expect("the server reads on");
        drop(client);
        assert!(socket.next().await.is_none());
    }

    #[test]
    fn buffer_sizes_follow_the_limits() {
        let config = Config { read_buffer_bytes: 1234, max_message_bytes: 5000, ..Config::default() };
        let config = config.websocket_config();
        assert_eq!(config.read_buffer_size, 1234);
        assert_eq!((config.max_message_size, config.max_frame_size), (Some(5000), Some(5000)));
        assert_eq!(config.write_buffer_size, WRITE_BUFFER);
        assert_eq!(config.max_write_buffer_size, WRITE_BUFFER + 5000 + 2048);
    }
}
