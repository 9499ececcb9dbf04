//! An in-process pair of connected transports.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::{Sink, Stream, StreamExt as _};

use super::{Frame, TransportError};

/// One end of a [`pair`]. Dropping it ends the stream of the other end.
#[derive(Debug)]
pub struct ChannelTransport {
    sender: mpsc::Sender<Frame>,
    receiver: mpsc::Receiver<Frame>,
}

/// Creates two connected transports. Each receives the frames that the other sends.
///
/// Each direction buffers `capacity` + 1 frames. When the buffer is full, the sender waits, as it does for a slow
/// consumer.
///
/// ```
/// use futures::{SinkExt as _, StreamExt as _};
/// use sigver::{Frame, memory};
///
/// # tokio_test::block_on(async {
/// let (mut here, mut there) = memory::pair(16);
/// here.send(Frame::Text("hello".into())).await.expect("the other end is open");
/// assert!(matches!(there.next().await, Some(Ok(Frame::Text(text))) if text == "hello"));
/// # });
/// ```
pub fn pair(capacity: usize) -> (ChannelTransport, ChannelTransport) {
    let (to_right, from_left) = mpsc::channel(capacity);
    let (to_left, from_right) = mpsc::channel(capacity);
    let left = ChannelTransport { sender: to_right, receiver: from_right };
    let right = ChannelTransport { sender: to_left, receiver: from_left };
    (left, right)
}

impl Stream for ChannelTransport {
    type Item = Result<Frame, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_next_unpin(cx).map(|frame| frame.map(Ok))
    }
}

impl Sink<Frame> for ChannelTransport {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx).map_err(connection_lost)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        self.sender.start_send(frame).map_err(connection_lost)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.sender).poll_flush(cx).map_err(connection_lost)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.sender).poll_close(cx).map_err(connection_lost)
    }
}

fn connection_lost(error: mpsc::SendError) -> TransportError {
    TransportError::ConnectionLost(error.into())
}
