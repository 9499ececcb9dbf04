//! A transport that reads what a closure returns, and accepts a number of frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream};
use sigver::{Frame, TransportError};

pub(crate) struct Scripted<F> {
    pub(crate) read: F,
    /// The number of frames that it still accepts.
    pub(crate) room: usize,
    /// Whether it ever flushes or closes.
    pub(crate) flushes: bool,
}

impl<F: FnMut() -> Option<Frame> + Unpin> Stream for Scripted<F> {
    type Item = Result<Frame, TransportError>;

    /// Pending without a wake-up if the closure returns `None`.
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        (self.read)().map_or(Poll::Pending, |frame| Poll::Ready(Some(Ok(frame))))
    }
}

impl<F: Unpin> Sink<Frame> for Scripted<F> {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.room > 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn start_send(mut self: Pin<&mut Self>, _: Frame) -> Result<(), Self::Error> {
        self.room -= 1;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.flushes { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(cx)
    }
}
