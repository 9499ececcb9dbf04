//! A client for tests, which panics instead of returning unexpected events.

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::time::Instant;

use super::{Client, ClientError, Event};
use crate::protocol::{MemberId, Message};
use crate::transport::{CloseFrame, Frame, Transport};

/// A [`Client`] for tests: ids are plain numbers, and anything unexpected is a panic that names it.
///
/// It reports heartbeats instead of answering them, so that a test controls when a peer is silent (see
/// [`answer_heartbeats`](TestClient::answer_heartbeats)). A `send*` method that
/// fails does nothing: [`recv`](TestClient::recv) then returns why the connection ended. All methods are as cancel safe
/// as the methods of [`Client`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use sigver::client::Event;
/// use sigver::{SignalingHub, memory};
///
/// let hub = SignalingHub::new();
/// let [mut alice, mut bob] = [memory::join(&hub, "a key"), memory::join(&hub, "a key")];
/// assert!(alice.connect(1, &[]).await);
/// assert!(!bob.connect(2, &[]).await);
/// bob.close().await;
/// assert!(matches!(alice.recv().await, Ok(Event::Ended { .. })));
/// # }
/// ```
#[derive(Debug)]
pub struct TestClient<T> {
    client: Client<T>,
}

impl<T: Transport + Unpin> TestClient<T> {
    /// Creates a client of the hub at the other end of `transport`.
    pub fn new(transport: T) -> Self {
        Self { client: Client::new(transport).manual_heartbeats() }
    }

    /// Answers heartbeats while a method receives, as [`Client`] does, instead of reporting them. For tests that last longer
    /// than 15 s, after which the hub closes a silent peer with 4742.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), sigver::ConfigError> {
    /// use std::time::{Duration, SystemTime};
    ///
    /// use sigver::{JoinRequest, PeerInfo, SignalingHub, memory};
    ///
    /// let in_8_hours = SystemTime::now() + Duration::from_secs(8 * 3600);
    /// let admission = move |_: JoinRequest| async move { Ok(PeerInfo::new().expires_at(in_8_hours)) };
    /// let hub = SignalingHub::builder().admission(admission).build()?;
    /// let mut peer = memory::join(&hub, "a key").answer_heartbeats();
    /// assert!(peer.connect(1, &[]).await);
    /// assert_eq!(peer.recv_close().await.code, 4740);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn answer_heartbeats(mut self) -> Self {
        self.client.manual_heartbeats = false;
        self.client.last_frame = Instant::now();
        self
    }

    /// Sends a frame of any kind, valid or not.
    pub async fn send_frame(&mut self, frame: Frame) {
        // `recv` returns why the connection ended.
        let _: Result<(), T::Err> = self.client.transport_mut().send(frame).await;
    }

    /// Sends a message of any kind.
    pub async fn send(&mut self, message: Message) {
        // Not `Client::send`, which finishes the client if it fails: `recv` returns why the connection ended.
        let _: Result<(), T::Err> = self.client.write(message).await;
    }

    /// Sends `connect` and does not wait for the answer.
    pub async fn send_connect(&mut self, id: u32, members: &[u32]) {
        let members = members.iter().copied().map(MemberId).collect();
        self.send(Message::Connect { id: MemberId(id), members }).await;
    }

    /// Sends `connect` and returns the answer: `true` for a member, `false` for a joiner that is bound to one.
    ///
    /// # Panics
    /// If the next event, apart from heartbeats, is not the answer.
    #[must_use = "the answer tells whether the peer is a member"]
    pub async fn connect(&mut self, id: u32, members: &[u32]) -> bool {
        self.send_connect(id, members).await;
        match self.recv().await {
            Ok(Event::Connected { member }) => member,
            other => panic!("expected an answer to connect, got {other:?}"),
        }
    }

    /// Sends data to the joiner of a link, or, with `recipient` 0, to the member that this peer is bound to.
    pub async fn send_content(&mut self, recipient: u32, data: impl Into<Bytes>) {
        self.send(Message::content(recipient, data)).await;
    }

    /// Sends data as [`TestClient::send_content`] does, and ends this direction of the link.
    pub async fn send_last_content(&mut self, recipient: u32, data: impl Into<Bytes>) {
        self.send(Message::last_content(recipient, data)).await;
    }

    /// Sends a heartbeat.
    pub async fn send_heartbeat(&mut self) {
        self.send(Message::Heartbeat).await;
    }

    /// Receives the next event that is not a heartbeat.
    ///
    /// # Errors
    /// As [`Client::recv`]. Further calls then fail with [`ClientError::ConnectionLost`].
    pub async fn recv(&mut self) -> Result<Event, ClientError> {
        loop {
            match self.recv_any().await {
                Ok(Event::Heartbeat) => {}
                other => return other,
            }
        }
    }

    /// Receives the next event, heartbeats included.
    ///
    /// # Errors
    /// As [`TestClient::recv`].
    pub async fn recv_any(&mut self) -> Result<Event, ClientError> {
        self.client.recv().await
    }

    /// Receives the next content and returns its link and its data, which is empty if the other end disconnected.
    ///
    /// # Panics
    /// If the next event, apart from heartbeats, is something else.
    pub async fn recv_content(&mut self) -> (u32, Bytes) {
        match self.recv().await {
            Ok(Event::Content { link, data, .. }) => (link.value(), data),
            Ok(Event::Ended { link, .. }) => (link.value(), Bytes::new()),
            other => panic!("expected content, got {other:?}"),
        }
    }

    /// Receives the hub's close frame and returns its code and reason. Skips contents and the ends of links.
    ///
    /// # Panics
    /// If an answer to `connect` arrives first, the connection is lost, or the close frame has no code.
    pub async fn recv_close(&mut self) -> CloseFrame {
        loop {
            match self.recv().await {
                Ok(Event::Content { .. } | Event::Ended { .. }) => {}
                Err(ClientError::Closed(Some(frame))) => return frame,
                other => panic!("expected a close frame with a code, got {other:?}"),
            }
        }
    }

    /// Closes the connection: sends a close frame without a code, and waits for that of the hub or for the end of the
    /// connection. To send a code, use [`send_frame`](TestClient::send_frame). Dropping the client ends the connection
    /// without a close frame.
    ///
    /// After that, the peer has left its group: it appears in no snapshot, its event was sent, and its attached values
    /// were dropped. It waits forever if nothing serves the other end.
    pub async fn close(mut self) {
        let transport = self.client.transport_mut();
        // The hub may have ended the connection already.
        let _: Result<(), T::Err> = transport.send(Frame::Close(None)).await;
        while let Some(Ok(frame)) = transport.next().await {
            if matches!(frame, Frame::Close(_)) {
                break;
            }
        }
        self.client.close().await;
    }
}
