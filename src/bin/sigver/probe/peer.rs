//! A peer that answers heartbeats, and never waits for ever.

use std::time::{Duration, Instant};

use sigver::memory::{Heard, TestClient};
use sigver::protocol::Message;
use sigver::{Frame, Transport};
use tokio::time::timeout;

use super::trouble::Trouble;

/// A hub sends one every 5 s; the rest is for the way.
const HEARTBEAT_WITHIN: Duration = Duration::from_secs(6);

/// A peer's socket, and what was seen of it.
pub(super) struct Peer<T> {
    client: TestClient<T>,
    opened: Instant,
    /// When something last went over the socket, either way.
    busy: Instant,
    /// The longest that nothing went over it and that it bore.
    bore: Duration,
    heartbeats: u32,
}

impl<T: Transport + Unpin> Peer<T> {
    pub(super) fn new(client: TestClient<T>) -> Self {
        let now = Instant::now();
        Self { client, opened: now, busy: now, bore: Duration::ZERO, heartbeats: 0 }
    }

    /// How long its socket has been open.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// The longest that the socket was quiet.
    pub(super) fn bore(&self) -> Duration {
        self.bore
    }

    pub(super) async fn send(&mut self, frame: Frame) {
        self.busy();
        self.client.send_frame(frame).await;
    }

    pub(super) async fn say(&mut self, message: Message) {
        self.send_frame(Frame::Binary(message.encode())).await;
    }

    /// The next message, heartbeats apart.
    pub(super) async fn hear(&mut self, what: &'static str, within: Duration) -> Result<Message, Trouble> {
        let heard = async {
            loop {
                match self.next().await? {
                    Message::Heartbeat => {}
                    message => return Ok(message),
                }
            }
        };
        timeout(within, heard).await.unwrap_or(Err(Trouble::Unanswered { what, within }))
    }

    /// Does nothing but answer heartbeats, until there were so many since the socket was opened.
    pub(super) async fn rest(&mut self, heartbeats: u32) -> Result<(), Trouble> {
        while self.heartbeats < heartbeats {
            self.send_heartbeat().await?;
        }
        Ok(())
    }

    /// As [`Peer::rest`], for so long.
    pub(super) async fn idle(&mut self, time: Duration) -> Result<(), Trouble> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.send_heartbeat().await?;
        }
        Ok(())
    }

    /// The next heartbeat, whatever comes before it.
    async fn heartbeat(&mut self) -> Result<(), Trouble> {
        let heard = async {
            while self.next().await? != Message::Heartbeat {}
            Ok(())
        };
        timeout(HEARTBEAT_WITHIN, heard).await.unwrap_or(Err(Trouble::NoHeartbeat { within: HEARTBEAT_WITHIN }))
    }

    /// The next message. A heartbeat is counted, and answered.
    async fn next(&mut self) -> Result<Message, Trouble> {
        match self.client.recv_any().await {
            Heard::Message(message) => {
                self.busy();
                if message == Message::Heartbeat {
                    self.heartbeats += 1;
                    self.client.send_heartbeat().await;
                }
                Ok(message)
            }
            Heard::Closed(frame) => Err(Trouble::Closed(frame)),
            Heard::Gone => Err(Trouble::Cut { age: self.age(), quiet: self.busy.elapsed(), bore: self.bore }),
            // A frame of a kind that this version does not know is no hub's either.
            Heard::Foreign(_) | _ => Err(Trouble::Foreign),
        }
    }

    fn busy(&mut self) {
        self.bore = self.bore.max(self.busy.elapsed());
        self.busy = Instant::now();
    }

    /// Closes the socket in order.
    pub(super) async fn close(self, within: Duration) {
        // Nobody is left to be told of a socket that does not end in time.
        let _ = timeout(within, self.client.close()).await;
    }
}
