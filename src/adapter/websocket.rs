//! A tungstenite WebSocket as a transport, whichever framework it comes from.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use hyper_tungstenite::tungstenite::protocol::{CloseFrame as WsCloseFrame, Message, WebSocketConfig};
use hyper_tungstenite::{WebSocketStream, tungstenite};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame_limiter::Metered;
use crate::hub::Config;
use crate::transport::{CloseFrame, Frame, TransportError};

/// How much is gathered before it is written without a flush. Larger than most batches, and what a burst leaves behind.
const WRITE_BUFFER: usize = 16 * 1024;

impl Config {
    /// tungstenite's own defaults cost 140 KB for each idle peer, allow messages of 64 MiB, and buffer without end.
    pub(super) fn websocket_config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(self.max_write_buffer_size(WRITE_BUFFER))
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_message_bytes))
    }

    /// A message over the target, and one behind it; with the ids, the hub's are a little longer than a peer's.
    pub(super) fn max_write_buffer_size(&self, write_buffer_size: usize) -> usize {
        write_buffer_size + 2 * (self.max_message_bytes + 1024)
    }
}

/// The server's end of a WebSocket.
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// The peer broke the framing or sent too much, so that nothing more is read as frames.
    broken: bool,
    is_flooded: fn(&S) -> bool,
}

impl<S> WebSocket<S> {
    pub(super) fn new(stream: WebSocketStream<S>) -> Self {
        Self { stream, broken: false, is_flooded: |_| false }
    }
}

impl<S> WebSocket<Metered<S>> {
    /// One whose frames are counted.
    pub(super) fn metered(stream: WebSocketStream<Metered<S>>) -> Self {
        Self { stream, broken: false, is_flooded: Metered::is_flooded }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Says that nothing more comes from here and swallows what the peer still sends. With unread bytes the socket's
    /// end would be a reset, and a reset eats the close frame on its way to the peer.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let socket = self.stream.get_mut();
        // The peer closes its side when it sees the end of ours, or the caller's patience ends.
        let _: Poll<Result<(), _>> = Pin::new(&mut *socket).poll_shutdown(cx);
        let mut swallowed = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut swallowed);
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
        if self.broken {
            return self.poll_drain(cx).map(|()| None);
        }
        let read = self.stream.poll_next_unpin(cx);
        if (self.is_flooded)(self.stream.get_ref()) {
            self.broken = true;
            return Poll::Ready(Some(Err(TransportError::TooManyFrames)));
        }
        match ready!(read) {
            Some(Ok(message)) => Poll::Ready(Some(Ok(message.into()))),
            Some(Err(error)) => {
                let error = classify(error);
                self.broken = !matches!(error, TransportError::ConnectionLost(_));
                Poll::Ready(Some(Err(error)))
            }
            None => Poll::Ready(None),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Frame> for WebSocket<S> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stream.poll_ready_unpin(cx).map_err(classify)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.stream.start_send_unpin(frame.into()).map_err(classify)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stream.poll_flush_unpin(cx).map_err(classify)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.stream.poll_close_unpin(cx).map_err(classify)
    }
}

impl From<Message> for Frame {
    fn from(message: Message) -> Self {
        match message {
            Message::Binary(bytes) => Self::Binary(bytes),
            Message::Text(text) => Self::Text(text.to_string()),
            Message::Ping(bytes) => Self::Ping(bytes),
            Message::Pong(bytes) => Self::Pong(bytes),
            Message::Close(frame) => {
                Self::Close(frame.map(|frame| CloseFrame::new(frame.code.into(), frame.reason.as_str())))
            }
            Message::Frame(_) => unreachable!("tungstenite reads no raw frames"),
        }
    }
}

impl From<Frame> for Message {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Binary(bytes) => Self::Binary(bytes),
            Frame::Text(text) => Self::Text(text.into()),
            Frame::Ping(bytes) => Self::Ping(bytes),
            Frame::Pong(bytes) => Self::Pong(bytes),
            Frame::Close(frame) => Self::Close(
                frame.map(|CloseFrame { code, reason }| WsCloseFrame { code: code.into(), reason: reason.into() }),
            ),
        }
    }
}

/// What a WebSocket's error means, out of whichever wrapping the framework gives it.
pub(super) fn classify(error: impl Into<Box<dyn Error + Send + Sync>>) -> TransportError {
    /// What the error of one version of tungstenite means, if `$error` is one. The versions share no types.
    macro_rules! meaning {
        ($tungstenite:ident, $error:expr) => {
            $error.downcast_ref::<$tungstenite::Error>().map(|error| match error {
                $tungstenite::Error::Capacity(_) => TransportError::MessageTooBig,
                $tungstenite::Error::Protocol($tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                    TransportError::ConnectionLost
                }
                $tungstenite::Error::Protocol(_) | $tungstenite::Error::Utf8(_) => TransportError::Malformed,
                _ => TransportError::ConnectionLost,
            })
        };
    }
    let error = error.into();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(error_or_source) = cause {
        let meaning: Option<fn(_) -> _> = meaning!(tungstenite, error_or_source);
        #[cfg(any(feature = "axum", feature = "warp"))]
        let meaning = meaning.or(meaning!(tungstenite_029, error_or_source));
        if let Some(meaning) = meaning {
            return meaning(error);
        }
        cause = error_or_source.source();
    }
    TransportError::ConnectionLost(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffers_are_those_of_the_limits() {
        let config = Config { read_buffer_bytes: 1234, max_message_bytes: 5000, ..Config::default() };
        let config = config.websocket_config();
        assert_eq!(config.read_buffer_size, 1234);
        assert_eq!((config.max_message_size, config.max_frame_size), (Some(5000), Some(5000)));
        assert_eq!(config.write_buffer_size, WRITE_BUFFER);
        assert_eq!(config.max_write_buffer_size, WRITE_BUFFER + 2 * 6024);
    }
}
