//! The client side of the protocol, over any [`Transport`].
//!
//! [`Client`] is for native peers and for other programs that take part in signaling. It works with the in-process
//! transport of [`memory`](crate::memory), and with any [`Transport`] of the app. The client does not open connections.
//! With the feature `hyper`, `sigver::hyper::transport` converts a WebSocket of `tokio-tungstenite` 0.29. For `wss://`,
//! enable one of that crate's TLS features:
//!
#![cfg_attr(feature = "hyper", doc = "```no_run")]
#![cfg_attr(not(feature = "hyper"), doc = "```ignore")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (socket, _response) = tokio_tungstenite::connect_async("wss://example.org/signal/KEY").await?;
//! let client = sigver::client::Client::new(sigver::hyper::transport(socket));
//! # Ok(()) }
//! ```
//!
//! Two peers of one group, in one process. Their ids are at least 2^31, so that they differ from every link id:
//!
//! ```
//! use sigver::client::{Client, Event, Remote};
//! use sigver::protocol::MemberId;
//! use sigver::{SignalingHub, memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = SignalingHub::new();
//! let join = || {
//!     let (server_end, client_end) = memory::pair(16);
//!     tokio::spawn(hub.serve(server_end, "the group's key"));
//!     Client::new(client_end)
//! };
//!
//! let mut alice = join();
//! assert!(alice.connect(MemberId(0xa11c_e000), &[]).await?); // The first peer becomes a member.
//!
//! let mut bob = join();
//! assert!(!bob.connect(MemberId(0xb0b0_0000), &[]).await?); // The second peer is bound to her.
//! bob.send_content(Remote::Member, "offer").await?;
//! let Event::Content { from, data, .. } = alice.recv().await? else { panic!("expected an offer") };
//! assert_eq!(data, "offer");
//! alice.send_content(from, "answer").await?;
//! let Event::Content { data, .. } = bob.recv().await? else { panic!("expected an answer") };
//! assert_eq!(data, "answer");
//! # Ok(()) }
//! ```

mod error;
mod event;
pub(crate) mod test_client;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::protocol::{MemberId, Message};
use crate::transport::{Frame, Transport, TransportError};

pub use error::{ClientError, Retry};
pub use event::{Event, Remote};

/// Three heartbeat intervals of the hub: the hub waits equally long for the client's heartbeats.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// The most events that are kept while `connect` waits for its answer. By default a hub queues 256 messages for a peer.
const MAX_EARLY_EVENTS: usize = 1024;

/// A peer's side of the protocol.
///
/// The client has no task, so an app must poll [`recv`](Client::recv) most of the time, usually in a `select!` loop:
/// heartbeats are answered there. The hub closes a client with 4742 if it answers no heartbeat for 15 s.
///
/// After an error the client is finished: every further call fails with [`ClientError::ConnectionLost`], except that
/// [`recv`](Client::recv) first returns the events that `connect` received. The client does not reconnect by itself: [`ClientError::retry`] returns when to create a new one. Dropping the client drops the
/// transport; the hub then notifies the peers that are linked with it.
pub struct Client<T> {
    transport: T,
    /// Events that arrived while `connect` waited for its answer, oldest first.
    early: VecDeque<Event>,
    /// The number of sent `connect`s without an answer. The hub answers each of them once, in order.
    unanswered: usize,
    last_frame: Instant,
    manual_heartbeats: bool,
    /// A heartbeat of the hub has not been answered yet.
    answer_due: bool,
    unflushed: bool,
    finished: bool,
}

impl<T: Transport + Unpin> Client<T> {
    /// Creates a client of the hub at the other end of `transport`.
    ///
    /// The key of the group is not sent over the transport: it is part of the request to join, which the server
    /// has already received.
    pub fn new(transport: T) -> Self {
        Self {
            transport,
            early: VecDeque::new(),
            unanswered: 0,
            last_frame: Instant::now(),
            manual_heartbeats: false,
            answer_due: false,
            unflushed: false,
            finished: false,
        }
    }

    /// Reports the hub's heartbeats as [`Event::Heartbeat`] instead of answering them, and disables the 15 s silence
    /// timeout. For tests and diagnosis.
    #[must_use]
    pub fn manual_heartbeats(mut self) -> Self {
        self.manual_heartbeats = true;
        self
    }

    /// Asks the hub to make this peer a member with the id `id`. `members` are the ids of the members that it is directly
    /// connected to. Returns `true` if it is now a member, `false` if it is bound to one, [`Remote::Member`].
    ///
    /// Choose a random `id` of at least 2^31. The [rules](crate::protocol#the-rules-of-connect) decide the answer.
    ///
    /// Events that arrive before the answer are kept for [`recv`](Self::recv), 1024 at most.
    ///
    /// # Cancel safety
    /// If the future is dropped, the `connect` may have been sent. Its answer is then reported by `recv` as
    /// [`Event::Connected`]. No event is lost.
    ///
    /// # Errors
    /// [`ClientError`], after which the client is finished.
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    pub async fn connect(&mut self, id: MemberId, members: &[MemberId]) -> Result<bool, ClientError> {
        let mut answers_ahead = self.unanswered;
        self.send_connect(id, members).await?;
        loop {
            match self.next_event().await? {
                Event::Connected { member } if answers_ahead == 0 => return Ok(member),
                _ if self.early.len() >= MAX_EARLY_EVENTS => {
                    self.finished = true;
                    return Err(ClientError::TooManyEvents);
                }
                event => {
                    if let Event::Connected { .. } = event {
                        answers_ahead -= 1;
                    }
                    self.early.push_back(event);
                }
            }
        }
    }

    /// Sends what [`connect`](Self::connect) sends, without waiting for the answer, which [`recv`](Self::recv)
    /// reports as [`Event::Connected`].
    ///
    /// Cancel safety and errors: as [`send`](Self::send).
    pub async fn send_connect(&mut self, id: MemberId, members: &[MemberId]) -> Result<(), ClientError> {
        self.send(Message::Connect { id, members: members.to_vec() }).await
    }

    /// Sends data to the other end of a link. The hub drops it silently if that link has ended.
    ///
    /// Empty data is received as [`Event::Ended`].
    ///
    /// Cancel safety and errors: as [`send`](Self::send).
    pub async fn send_content(&mut self, to: Remote, data: impl Into<Bytes>) -> Result<(), ClientError> {
        self.send(Message::content(to.recipient(), data)).await
    }

    /// Sends data to the other end of a link and ends this direction of the link. The hub drops later content in this
    /// direction, and does not notify the other end when this peer disconnects.
    ///
    /// Cancel safety and errors: as [`send`](Self::send).
    pub async fn send_last_content(&mut self, to: Remote, data: impl Into<Bytes>) -> Result<(), ClientError> {
        self.send(Message::last_content(to.recipient(), data)).await
    }

    /// Sends a heartbeat. Needed only with [`manual_heartbeats`](Self::manual_heartbeats).
    ///
    /// Cancel safety and errors: as [`send`](Self::send).
    pub async fn send_heartbeat(&mut self) -> Result<(), ClientError> {
        self.send(Message::Heartbeat).await
    }

    /// Sends any message. Waits while the transport has no room, without a timeout, and does not answer heartbeats
    /// meanwhile.
    ///
    /// # Cancel safety
    /// A future that is dropped before the transport has room has sent nothing. Dropped later, the message is in the
    /// transport, and a later call flushes it.
    ///
    /// # Errors
    /// [`ClientError::Closed`] if the hub has closed the connection, otherwise [`ClientError::ConnectionLost`]. The client
    /// is finished after either.
    pub async fn send(&mut self, message: Message) -> Result<(), ClientError> {
        if self.finished {
            return Err(ClientError::ConnectionLost(None));
        }
        match self.write(message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.write_failed(error.into())),
        }
    }

    /// Receives the next event, and answers heartbeats while it waits.
    ///
    /// # Cancel safety
    /// Cancel safe: if the future is dropped, no event is lost, and a heartbeat that is not answered yet is answered by
    /// a later call.
    ///
    /// # Errors
    /// [`ClientError`] when the connection ends, when nothing arrives for 15 s, or when the hub sends a frame that is not
    /// part of the protocol. The client is finished after each of them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with a timer, unless heartbeats are [manual](Self::manual_heartbeats).
    pub async fn recv(&mut self) -> Result<Event, ClientError> {
        match self.early.pop_front() {
            Some(event) => Ok(event),
            None => self.next_event().await,
        }
    }

    /// Returns the transport, for example to send frames that the protocol does not allow. For tests.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Sends a close frame and closes the transport. Waits while the transport has no room, but not for the hub's
    /// answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, as dropping the client does.
    pub async fn close(mut self) {
        // The connection ends in any case, and the hub may have ended it already.
        let _: Result<(), T::Err> = self.transport.send(Frame::Close(None)).await;
        let _: Result<(), T::Err> = self.transport.close().await;
    }

    /// Hands a message to the transport and flushes it. Cancel safe as documented for [`Client::send`].
    async fn write(&mut self, message: Message) -> Result<(), T::Err> {
        poll_fn(|cx| self.transport.poll_ready_unpin(cx)).await?;
        self.unanswered += usize::from(matches!(message, Message::Connect { .. }));
        self.unflushed = true;
        self.transport.start_send_unpin(Frame::Binary(message.encode()))?;
        poll_fn(|cx| self.transport.poll_flush_unpin(cx)).await?;
        self.unflushed = false;
        Ok(())
    }

    /// Finishes the client. The close frame of a hub that closed the connection says more than the write's error.
    fn write_failed(&mut self, error: TransportError) -> ClientError {
        self.finished = true;
        while let Some(Some(Ok(frame))) = self.transport.next().now_or_never() {
            if let Frame::Close(frame) = frame {
                return ClientError::Closed(frame);
            }
        }
        ClientError::ConnectionLost(Some(error))
    }

    /// The next event from the transport. Cancel safe: its only waiting step is [`Client::next_frame`].
    async fn next_event(&mut self) -> Result<Event, ClientError> {
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

/// Omits the events, which contain payloads.
impl<T: fmt::Debug> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut client = f.debug_struct("Client");
        client.field("transport", &self.transport).field("finished", &self.finished).finish_non_exhaustive()
    }
}
