//! The client side of the protocol, over any [`Transport`].
//!
//! [`Client`] is for native peers and for other programs that take part in signaling. With the feature `client`, `join`
//! opens one over ws:// or wss://, and `Connector` has the settings. Without it, the client works over the in-process
//! transport of [`memory`](crate::memory), and over any [`Transport`] of the app.
//!
#![cfg_attr(feature = "client", doc = "```no_run")]
#![cfg_attr(not(feature = "client"), doc = "```ignore")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = sigver::client::join("wss://example.org/signal", "the group's key").await?;
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

#[cfg(feature = "client")]
mod dial;
mod error;
mod event;
mod io;
pub(crate) mod test_client;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::time::Instant;

use crate::protocol::{MemberId, Message};
use crate::transport::{Frame, Transport};

#[cfg(feature = "client")]
pub use dial::{Connector, InvalidResponse, JoinError, JoinStep, Socket, WebSocket, join};
pub use error::{ClientError, Retry};
pub use event::{Event, Remote};

/// The most events that are kept while `connect` waits for its answer. By default a hub queues 256 messages for a peer.
const MAX_EARLY_EVENTS: usize = 1024;

/// A peer's side of the protocol.
///
/// The client has no task, so an app must poll [`recv`](Client::recv) most of the time, usually in a `select!` loop:
/// heartbeats are answered there. The hub closes a client with 4742 if it answers no heartbeat for 15 s.
///
/// After an error the client is finished: every further call fails with [`ClientError::ConnectionLost`], except that
/// [`recv`](Client::recv) first returns the events that `connect` received. The client does not reconnect by itself:
/// [`ClientError::retry`] returns when to create a new one. Dropping the client drops the transport; the hub then
/// notifies the peers that are linked with it.
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

    /// Asks the hub to make this peer a member with the id `id`. `members` are the ids of the members that it is
    /// directly connected to. Returns `true` if it is now a member, `false` if it is bound to one,
    /// [`Remote::Member`].
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
    /// [`ClientError::Closed`] if the hub has closed the connection, otherwise [`ClientError::ConnectionLost`]. The
    /// client is finished after either.
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
    /// [`ClientError`] when the connection ends, when nothing arrives for 15 s, or when the hub sends a frame that is
    /// not part of the protocol. The client is finished after each of them.
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

    /// Returns the transport. Events that [`connect`](Self::connect) received and kept are dropped.
    pub fn into_transport(self) -> T {
        self.transport
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
}

/// Omits the events, which contain payloads.
impl<T: fmt::Debug> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut client = f.debug_struct("Client");
        client.field("transport", &self.transport).field("finished", &self.finished).finish_non_exhaustive()
    }
}
