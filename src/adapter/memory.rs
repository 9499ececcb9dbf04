//! Peers without a network, for tests: a connected pair of transports, and a client that speaks the protocol.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let hub = sigver::SignalingHub::new();
//! let mut alice = sigver::memory::join(&hub, "a key");
//! assert!(alice.connect(1, &[]).await);
//! alice.close().await;
//! # }
//! ```

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};

use crate::protocol::{MemberId, Message};
use crate::transport::{CloseFrame, Frame, Transport, TransportError};
use crate::{JoinRequest, SignalingHub};

pub use crate::transport::{ChannelTransport, pair};

/// How many frames each direction of [`open`]'s pair holds.
const CAPACITY: usize = 16;

/// Opens a peer of `hub`, served by a task of its own.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn join(hub: &SignalingHub, opening: impl Into<JoinRequest>) -> TestClient<ChannelTransport> {
    let (there, here) = pair(CAPACITY);
    let (hub, opening) = (hub.clone(), opening.into());
    tokio::spawn(async move { hub.serve(there, opening).await });
    TestClient::new(here)
}

/// A peer's side of the protocol over any transport, one method for each thing that it can say.
///
/// It is for tests, and does as it is told: it sends no heartbeats of its own, and whatever was not to be expected is
/// a panic that says what came instead.
#[derive(Debug)]
pub struct TestClient<T> {
    transport: T,
}

/// What a [`TestClient`] hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Heard {
    /// A message of the protocol.
    Message(Message),
    /// A frame that is no message of the protocol: a text, or bytes that cannot be read. No hub sends one.
    Foreign(Frame),
    /// The hub closes the socket, with this code and reason if it gave any.
    Closed(Option<CloseFrame>),
    /// The socket is gone without a close.
    Gone,
}

impl<T: Transport + Unpin> TestClient<T> {
    /// A client at the other end of a transport that somebody serves.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// Sends a frame of any kind, allowed or not. That the hub is gone does not matter here: [`TestClient::recv`] tells.
    pub async fn send_frame(&mut self, frame: Frame) {
        // The peer of a closed socket learns of it by reading.
        let _: Result<(), T::Err> = self.transport.send(frame).await;
    }

    /// Sends a message of any kind.
    pub async fn send(&mut self, message: Message) {
        self.send_frame(Frame::Binary(message.encode())).await;
    }

    /// Says "I am `id` and see `members`", and does not wait for the answer.
    pub async fn send_connect(&mut self, id: u32, members: &[u32]) {
        let members = members.iter().copied().map(MemberId).collect();
        self.send(Message::Connect { id: MemberId(id), members }).await;
    }

    /// Says "I am `id` and see `members`", and returns the answer: true for a member, false for one that is bound.
    ///
    /// # Panics
    /// When anything but an answer comes.
    pub async fn connect(&mut self, id: u32, members: &[u32]) -> bool {
        self.send_connect(id, members).await;
        match self.recv().await {
            Heard::Message(Message::Connected(admitted)) => admitted,
            other => panic!("expected an answer to connect, but heard {other:?}"),
        }
    }

    /// Sends data to a link, or with `recipient` 0 to the member that it is bound to.
    pub async fn send_content(&mut self, recipient: u32, data: impl Into<Bytes>) {
        self.send(Message::content(recipient, data)).await;
    }

    /// As [`TestClient::send_content`], and says that it was the last in this direction.
    pub async fn send_last_content(&mut self, recipient: u32, data: impl Into<Bytes>) {
        self.send(Message::last_content(recipient, data)).await;
    }

    /// Says "I am alive".
    pub async fn send_heartbeat(&mut self) {
        self.send(Message::Heartbeat).await;
    }

    /// What comes next, heartbeats apart.
    pub async fn recv(&mut self) -> Heard {
        loop {
            match self.recv_any().await {
                Heard::Message(Message::Heartbeat) => {}
                heard => return heard,
            }
        }
    }

    /// What comes next, heartbeats included.
    pub async fn recv_any(&mut self) -> Heard {
        loop {
            match self.transport.next().await.map(|frame| frame.map_err(Into::<TransportError>::into)) {
                Some(Ok(Frame::Binary(bytes))) => {
                    return match Message::decode(bytes.clone()) {
                        Ok(message) => Heard::Message(message),
                        Err(_) => Heard::Foreign(Frame::Binary(bytes)),
                    };
                }
                Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => {}
                Some(Ok(Frame::Close(frame))) => return Heard::Closed(frame),
                Some(Ok(text @ Frame::Text(_))) => return Heard::Foreign(text),
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The next content: the link that it came along, and the data, empty when the other end is gone.
    ///
    /// # Panics
    /// When anything else comes.
    pub async fn recv_content(&mut self) -> (u32, Bytes) {
        match self.recv().await {
            Heard::Message(Message::Content { sender, recipient, data, .. }) => (sender.max(recipient), data),
            other => panic!("expected a content, but heard {other:?}"),
        }
    }

    /// The code that the hub closes this peer with.
    ///
    /// # Panics
    /// When anything but heartbeats and a close with a code comes.
    pub async fn recv_close(&mut self) -> u16 {
        match self.recv().await {
            Heard::Closed(Some(frame)) => frame.code,
            other => panic!("expected a close, but heard {other:?}"),
        }
    }

    /// Closes the socket in order.
    pub async fn close(mut self) {
        self.send_frame(Frame::Close(None)).await;
        // A hub that is gone already is as good as one that answers.
        let _: Result<(), T::Err> = self.transport.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_message_is_heard_as_it_came() {
        for frame in [Frame::Text("text".to_owned()), Frame::Binary(Bytes::from_static(b"garbage"))] {
            let (mut there, here) = pair(1);
            there.send(frame.clone()).await.expect("there is room");
            match TestClient::new(here).recv().await {
                Heard::Foreign(heard) => assert_eq!(heard, frame),
                other => panic!("heard {other:?}"),
            }
        }
    }
}
