//! How a [`Client`] reads and writes frames.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::Client;
use super::error::ClientError;
use super::event::Event;
use crate::protocol::Message;
use crate::transport::{Frame, Transport, TransportError};

/// Three heartbeat intervals of the hub: the hub waits equally long for the client's heartbeats.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

impl<T: Transport + Unpin> Client<T> {
    /// Hands a message to the transport and flushes it. Cancel safe as documented for [`Client::send`].
    pub(super) async fn write(&mut self, message: Message) -> Result<(), T::Err> {
        poll_fn(|cx| self.transport.poll_ready_unpin(cx)).await?;
        self.unanswered += usize::from(matches!(message, Message::Connect { .. }));
        self.unflushed = true;
        self.transport.start_send_unpin(Frame::Binary(message.encode()))?;
        poll_fn(|cx| self.transport.poll_flush_unpin(cx)).await?;
        self.unflushed = false;
        Ok(())
    }

    /// Finishes the client. The close frame of a hub that closed the connection says more than the write's error.
    pub(super) fn write_failed(&mut self, error: TransportError) -> ClientError {
        self.finished = true;
        while let Some(Some(Ok(frame))) = self.transport.next().now_or_never() {
            if let Frame::Close(frame) = frame {
                return ClientError::Closed(frame);
            }
        }
        ClientError::ConnectionLost(Some(error))
    }

    /// The next event from the transport. Cancel safe: its only waiting step is [`Client::next_frame`].
    pub(super) async fn next_event(&mut self) -> Result<Event, ClientError> {
        if self.finished {
            return Err(ClientError::ConnectionLost(None));
        }
        loop {
            let result = match self.next_frame().await {
                Ok(frame) => self.receive(frame).transpose(),
                Err(error) => Some(Err(error)),
            };
            if let Some(result) = result {
                self.finished = result.is_err();
                return result;
            }
        }
    }

    async fn next_frame(&mut self) -> Result<Frame, ClientError> {
        let silent_at = (!self.manual_heartbeats).then(|| self.last_frame + SILENCE_TIMEOUT);
        let frame = poll_fn(|cx| {
            self.poll_answer(cx);
            self.transport.poll_next_unpin(cx)
        });
        let frame = match silent_at {
            None => frame.await,
            Some(silent_at) => timeout_at(silent_at, frame).await.map_err(|_| ClientError::HeartbeatTimeout)?,
        };
        self.last_frame = Instant::now();
        match frame {
            Some(Ok(frame)) => Ok(frame),
            Some(Err(error)) => Err(ClientError::ConnectionLost(Some(error.into()))),
            None => Err(ClientError::ConnectionLost(None)),
        }
    }

    /// Returns the event of a frame, if it has one.
    fn receive(&mut self, frame: Frame) -> Result<Option<Event>, ClientError> {
        let bytes = match frame {
            Frame::Binary(bytes) => bytes,
            // The transport answers pings.
            Frame::Ping(_) | Frame::Pong(_) => return Ok(None),
            Frame::Close(frame) => return Err(ClientError::Closed(frame)),
            Frame::Text(_) => return Err(ClientError::Invalid(frame)),
        };
        match Message::decode(bytes.clone()).ok().and_then(Event::from_message) {
            None => Err(ClientError::Invalid(Frame::Binary(bytes))),
            Some(Event::Heartbeat) if !self.manual_heartbeats => {
                self.answer_due = true;
                Ok(None)
            }
            Some(event) => {
                self.unanswered = self.unanswered.saturating_sub(usize::from(matches!(event, Event::Connected { .. })));
                Ok(Some(event))
            }
        }
    }

    /// Answers the hub's last heartbeat and flushes, as far as the transport has room. A failed write is not reported
    /// here: reading goes on to the end, which has the reason.
    fn poll_answer(&mut self, cx: &mut Context<'_>) {
        if self.answer_due {
            match self.transport.poll_ready_unpin(cx) {
                Poll::Ready(Ok(())) => {
                    let heartbeat = Frame::Binary(Message::HEARTBEAT);
                    self.unflushed |= self.transport.start_send_unpin(heartbeat).is_ok();
                    self.answer_due = false;
                }
                Poll::Ready(Err(_)) => self.answer_due = false,
                Poll::Pending => {}
            }
        }
        if self.unflushed {
            self.unflushed = self.transport.poll_flush_unpin(cx).is_pending();
        }
    }
}
