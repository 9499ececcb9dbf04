//! A peer in a test: its client, and everything that it has received.

use bytes::Bytes;
use futures::FutureExt as _;
use sigver::Frame;
use sigver::client::{ClientError, Event, Remote};
use sigver::memory::{ChannelTransport, TestClient};
use sigver::protocol::{MemberId, Message};
use tokio::time::Instant;

/// What a peer receives, apart from heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The answer to a `connect`: whether the peer is a member.
    Answer(bool),
    /// Content, which is empty if the other end of the link has disconnected.
    Content { side: Side, link: u32, data: Bytes },
    /// The hub has closed the connection with this code and reason.
    Closed(u16, String),
    /// The connection ended without a close frame.
    Lost,
}

/// Which end of a link has sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Joiner,
    Member,
}

pub(crate) struct Peer {
    /// `None` if the peer has left, or its connection has ended.
    client: Option<TestClient<ChannelTransport>>,
    /// Each with the time at which the test has seen it.
    pub(crate) seen: Vec<(Instant, Seen)>,
}

impl Peer {
    pub(crate) fn new(transport: ChannelTransport) -> Self {
        Self { client: Some(TestClient::new(transport)), seen: Vec::new() }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    pub(crate) fn send_connect(&mut self, id: u32, members: &[u32]) {
        let members = members.iter().copied().map(MemberId).collect();
        self.send(Message::Connect { id: MemberId(id), members });
    }

    pub(crate) fn send_content(&mut self, recipient: u32, last: bool, data: impl Into<Bytes>) {
        self.send(if last { Message::last_content(recipient, data) } else { Message::content(recipient, data) });
    }

    fn send(&mut self, message: Message) {
        if let Some(client) = &mut self.client {
            client.send(message).now_or_never().expect("the transport has room for all messages of a test");
        }
    }

    /// Disconnects, with a close frame or without.
    pub(crate) fn leave(&mut self, with_close_frame: bool) {
        if let Some(mut client) = self.client.take()
            && with_close_frame
        {
            // Not `close`, which waits until the hub has answered.
            let sent = client.send_frame(Frame::Close(None)).now_or_never();
            sent.expect("the transport has room for all messages of a test");
        }
    }

    /// Receives everything that has arrived, and answers heartbeats.
    pub(crate) fn receive(&mut self) {
        while let Some(client) = &mut self.client
            && let Some(event) = client.recv_any().now_or_never()
        {
            let seen = match event {
                Ok(Event::Heartbeat) => {
                    self.send(Message::Heartbeat);
                    continue;
                }
                Ok(Event::Connected { member }) => Seen::Answer(member),
                Ok(Event::Content { from, link, data }) => Seen::content(from, link.value(), data),
                Ok(Event::Ended { from, link }) => Seen::content(from, link.value(), Bytes::new()),
                Ok(other) => panic!("unexpected event {other:?}"),
                Err(error) => {
                    self.client = None;
                    match error {
                        ClientError::Closed(Some(frame)) => Seen::Closed(frame.code, frame.reason.to_string()),
                        _ => Seen::Lost,
                    }
                }
            };
            self.seen.push((Instant::now(), seen));
        }
    }

    /// Returns the links of which the peer is the member, as far as it knows. The last ones are the latest.
    pub(crate) fn joiner_links(&self) -> Vec<u32> {
        let mut links = Vec::new();
        for (_, seen) in &self.seen {
            if let Seen::Content { side: Side::Joiner, link, .. } = *seen
                && !links.contains(&link)
            {
                links.push(link);
            }
        }
        links
    }
}

impl Seen {
    fn content(from: Remote, link: u32, data: Bytes) -> Self {
        let side = if from == Remote::Member { Side::Member } else { Side::Joiner };
        Self::Content { side, link, data }
    }
}
