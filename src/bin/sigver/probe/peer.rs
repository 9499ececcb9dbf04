//! One peer of the probe: a client whose connection is measured, and whose waits are bounded.

use std::time::{Duration, Instant};

use futures::SinkExt as _;
use sigver::client::{Client, ClientError, Event, Remote};
use sigver::protocol::MemberId;
use sigver::{Frame, Transport};
use tokio::time::timeout;

use super::diagnosis::{Diagnosis, Step};

/// A hub sends a heartbeat every 5 s. The rest allows for the network.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(6);

/// A client that answers heartbeats and counts them, and measures the silence on its connection.
pub(super) struct Peer<T> {
    client: Client<T>,
    opened: Instant,
    /// When the last message was sent or received.
    last_activity: Instant,
    /// The longest silence that the connection has survived.
    longest_silence: Duration,
    heartbeats: u32,
}

impl<T: Transport + Unpin> Peer<T> {
    pub(super) fn new(client: Client<T>) -> Self {
        let now = Instant::now();
        Self {
            // Heartbeats are events, so that they can be counted.
            client: client.manual_heartbeats(),
            opened: now,
            last_activity: now,
            longest_silence: Duration::ZERO,
            heartbeats: 0,
        }
    }

    /// Returns the time since the connection was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Returns the longest silence that the connection has survived.
    pub(super) fn longest_silence(&self) -> Duration {
        self.longest_silence
    }

    /// Sends `connect` and returns the answer: whether this peer is a member.
    pub(super) async fn connect(&mut self, timeout: Duration) -> Result<bool, Diagnosis> {
        self.record_activity();
        // Netflux draws its member ids from the same range. Smaller numbers are link ids.
        let id = MemberId(fastrand::u32(1 << 31..));
        let sent = self.client.send_connect(id, &[]).await;
        sent.map_err(|error| self.diagnose(error))?;
        match self.recv(Step::Connect, timeout).await? {
            Event::Connected { member, .. } => Ok(member),
            event => Err(Diagnosis::Unexpected { event, expected: "the answer to connect" }),
        }
    }

    pub(super) async fn send_content(&mut self, to: Remote, data: Vec<u8>) -> Result<(), Diagnosis> {
        self.record_activity();
        let sent = self.client.send_content(to, data).await;
        sent.map_err(|error| self.diagnose(error))
    }

    /// Sends a text message, which the protocol does not allow.
    pub(super) async fn send_text(&mut self) {
        self.record_activity();
        // After a failed write, `recv` returns why the connection ended.
        let _: Result<(), T::Err> = self.client.transport_mut().send(Frame::Text("text".to_owned())).await;
    }

    /// Receives the next event that is not a heartbeat.
    pub(super) async fn recv(&mut self, step: Step, duration: Duration) -> Result<Event, Diagnosis> {
        let received = async {
            loop {
                match self.recv_any().await? {
                    Event::Heartbeat => {}
                    event => return Ok(event),
                }
            }
        };
        timeout(duration, received).await.unwrap_or(Err(Diagnosis::Timeout { step, timeout: duration }))
    }

    /// Answers heartbeats until this number has arrived since the connection was opened.
    pub(super) async fn answer_heartbeats(&mut self, count: u32) -> Result<(), Diagnosis> {
        while self.heartbeats < count {
            self.answer_heartbeat().await?;
        }
        Ok(())
    }

    /// Answers heartbeats for this time.
    pub(super) async fn idle(&mut self, time: Duration) -> Result<(), Diagnosis> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.answer_heartbeat().await?;
        }
        Ok(())
    }

    /// Closes the connection.
    pub(super) async fn close(self, duration: Duration) {
        // The probe has finished with the connection, so a close that does not complete in time is dropped.
        let _ = timeout(duration, self.client.close()).await;
    }

    /// Waits for the next heartbeat and ignores all other events.
    async fn answer_heartbeat(&mut self) -> Result<(), Diagnosis> {
        let received = async {
            while self.recv_any().await? != Event::Heartbeat {}
            Ok(())
        };
        let no_heartbeat = Diagnosis::NoHeartbeat { timeout: HEARTBEAT_TIMEOUT };
        timeout(HEARTBEAT_TIMEOUT, received).await.unwrap_or(Err(no_heartbeat))
    }

    /// Receives the next event. Counts and answers a heartbeat.
    async fn recv_any(&mut self) -> Result<Event, Diagnosis> {
        let event = match self.client.recv().await {
            Ok(event) => event,
            Err(error) => return Err(self.diagnose(error)),
        };
        self.record_activity();
        if event == Event::Heartbeat {
            self.heartbeats += 1;
            let sent = self.client.send_heartbeat().await;
            sent.map_err(|error| self.diagnose(error))?;
        }
        Ok(event)
    }

    fn record_activity(&mut self) {
        self.longest_silence = self.longest_silence.max(self.last_activity.elapsed());
        self.last_activity = Instant::now();
    }

    fn diagnose(&self, error: ClientError) -> Diagnosis {
        match error {
            ClientError::Closed(frame) => Diagnosis::Closed(frame),
            ClientError::ConnectionLost(_) => Diagnosis::ConnectionLost {
                age: self.age(),
                silence: self.last_activity.elapsed(),
                longest_silence: self.longest_silence,
            },
            _ => Diagnosis::InvalidFrame,
        }
    }
}
