//! Frames and errors of tungstenite as those of a [`Transport`](super::Transport), for adapters and clients.

use std::error::Error;

use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame as WsCloseFrame, Message};

use super::{CloseFrame, Frame, TransportError};

pub(crate) fn into_frame(message: Message) -> Frame {
    match message {
        Message::Binary(bytes) => Frame::Binary(bytes),
        Message::Text(text) => Frame::Text(text.to_string()),
        Message::Ping(bytes) => Frame::Ping(bytes),
        Message::Pong(bytes) => Frame::Pong(bytes),
        Message::Close(frame) => {
            Frame::Close(frame.map(|frame| CloseFrame::new(frame.code.into(), frame.reason.as_str())))
        }
        Message::Frame(_) => unreachable!("tungstenite returns raw frames only to callers that write them"),
    }
}

pub(crate) fn from_frame(frame: Frame) -> Message {
    match frame {
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        Frame::Close(frame) => Message::Close(
            frame.map(|CloseFrame { code, reason }| WsCloseFrame { code: code.into(), reason: reason.into() }),
        ),
    }
}

/// Returns the error of tungstenite that caused an error. axum and warp wrap it in types of their own.
pub(crate) fn find_websocket_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a WsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            None => cause = error.source(),
            found => return found,
        }
    }
    None
}

pub(crate) fn into_transport_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> TransportError {
    let error = error.into();
    match find_websocket_error(&*error) {
        Some(WsError::Capacity(_)) => TransportError::MessageTooBig(error),
        Some(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => TransportError::ConnectionLost(error),
        Some(WsError::Protocol(_) | WsError::Utf8(_)) => TransportError::Malformed(error),
        _ => TransportError::ConnectionLost(error),
    }
}
