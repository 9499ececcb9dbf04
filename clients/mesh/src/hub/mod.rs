//! The connection to the hub: one future for each WebSocket, which the group's task polls.

mod outage;
mod socket;
mod url;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use sigver::client::{ClientError, Event, Remote};
use sigver::protocol::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub(crate) use outage::Outage;
pub(crate) use socket::Dialer;
pub(crate) use url::group_url;

use outage::describe;
use socket::NotOpened;

use crate::error::JoinError;
use crate::event::Close;
use crate::mesh::HubAction;
use crate::options::Key;

/// To call the key function, to open a WebSocket, and for each message to be taken.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Messages in each direction. The hub's outbox has 256 by default.
const MAX_QUEUED: usize = 256;

#[derive(Debug)]
pub(crate) enum HubEvent {
    Opened,
    Connected {
        member: bool,
    },
    Content {
        from: Remote,
        link: u32,
        data: Bytes,
    },
    Ended {
        from: Remote,
        link: u32,
    },
    /// The key function failed.
    KeyFailed,
    /// The key function returned an invalid key.
    InvalidKey(JoinError),
    /// The last event. `None`: the connection was lost.
    Closed {
        close: Option<Close>,
        timed_out: bool,
        /// For the log.
        cause: String,
    },
}

/// Where the hub is, and how to reach it.
#[derive(Clone)]
pub(crate) struct HubConfig {
    pub(crate) base: String,
    pub(crate) key: Key,
    pub(crate) favored: bool,
    pub(crate) dialer: Dialer,
}

/// One WebSocket, from the call of the key function to its end.
pub(crate) struct HubSocket {
    run: Pin<Box<dyn Future<Output = HubEvent> + Send>>,
    messages: mpsc::Sender<Message>,
    events: mpsc::Receiver<HubEvent>,
    ended: bool,
    last: Option<HubEvent>,
}

/// The queue to the hub is full: the hub does not read.
#[derive(Debug)]
pub(crate) struct Full;

impl HubSocket {
    pub(crate) fn open(config: HubConfig) -> Self {
        let (messages, from_mesh) = mpsc::channel(MAX_QUEUED);
        let (to_mesh, events) = mpsc::channel(MAX_QUEUED);
        let run = Box::pin(async move { run(config, from_mesh, to_mesh).await });
        Self { run, messages, events, ended: false, last: None }
    }

    /// Queues a message.
    pub(crate) fn send(&self, action: HubAction) -> Result<(), Full> {
        let message = match action {
            HubAction::Connect { id, members } => Message::connect(id, &members),
            HubAction::Content { to, data, last } => {
                let recipient = match to {
                    Remote::Member => 0,
                    Remote::Joiner(link) => link.value(),
                };
                if last { Message::last_content(recipient, data) } else { Message::content(recipient, data) }
            }
            HubAction::Open | HubAction::Close => return Ok(()),
        };
        match self.messages.try_send(message) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Full),
            // It has ended, and reports it.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// Runs the WebSocket until it reports something. Pending forever after its end. Cancel safe.
    pub(crate) async fn next(&mut self) -> HubEvent {
        while self.last.is_none() && !self.ended {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => return event,
                last = &mut self.run => {
                    self.last = Some(last);
                    self.ended = true;
                }
            }
        }
        // What it reported before its end comes first. The channel is closed by now.
        match self.events.recv().await.or_else(|| self.last.take()) {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Sends what is queued, and closes the WebSocket.
    pub(crate) async fn close(self) {
        let Self { run, messages, events, ended, .. } = self;
        drop((messages, events));
        if !ended {
            // The hub may not read. It notices the end of the connection in any case.
            let _: Result<HubEvent, tokio::time::error::Elapsed> = timeout(Duration::from_secs(1), run).await;
        }
    }
}

impl std::fmt::Debug for HubSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubSocket").field("ended", &self.ended).finish_non_exhaustive()
    }
}

async fn run(config: HubConfig, mut messages: mpsc::Receiver<Message>, events: mpsc::Sender<HubEvent>) -> HubEvent {
    let key = match timeout(TIMEOUT, config.key.get()).await {
        Ok(Ok(key)) => key,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the key function failed");
            return HubEvent::KeyFailed;
        }
        Err(_) => {
            tracing::warn!("the key function did not return within 10 s");
            return HubEvent::KeyFailed;
        }
    };
    let url = match group_url(&config.base, &key, config.favored) {
        Ok(url) => url,
        Err(error) => {
            tracing::warn!(%error, "the key function returned an invalid key");
            return HubEvent::InvalidKey(error);
        }
    };
    let mut client = match timeout(TIMEOUT, config.dialer.open(&url)).await {
        Ok(Ok(client)) => client,
        Ok(Err(NotOpened { close, cause })) => return HubEvent::Closed { close, timed_out: false, cause },
        Err(_) => return timed_out("the WebSocket did not open within 10 s"),
    };
    if events.send(HubEvent::Opened).await.is_err() {
        client.close().await;
        return closed_here();
    }
    let error = loop {
        tokio::select! {
            event = client.recv() => match event {
                Ok(event) => {
                    // A mesh that is busy slows the hub down. If it is gone, the queued messages are still sent.
                    if let Some(event) = read(event) {
                        let _: Result<(), mpsc::error::SendError<HubEvent>> = events.send(event).await;
                    }
                }
                Err(error) => break error,
            },
            message = messages.recv() => match message {
                Some(message) => match timeout(TIMEOUT, client.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break error,
                    Err(_) => return timed_out("the hub did not take a message within 10 s"),
                },
                None => {
                    client.close().await;
                    return closed_here();
                }
            },
        }
    };
    closed(error)
}

fn read(event: Event) -> Option<HubEvent> {
    match event {
        Event::Connected { member } => Some(HubEvent::Connected { member }),
        Event::Content { from, link, data } => Some(HubEvent::Content { from, link: link.value(), data }),
        Event::Ended { from, link } => Some(HubEvent::Ended { from, link: link.value() }),
        // The client answers heartbeats itself.
        _ => None,
    }
}

fn closed(error: ClientError) -> HubEvent {
    let cause = describe(&error);
    tracing::debug!(cause, "the connection to the hub has ended");
    match error {
        ClientError::Closed(Some(frame)) => {
            HubEvent::Closed { close: Some(Close::new(frame.code, frame.reason)), timed_out: false, cause }
        }
        ClientError::HeartbeatTimeout => HubEvent::Closed { close: None, timed_out: true, cause },
        _ => HubEvent::Closed { close: None, timed_out: false, cause },
    }
}

fn timed_out(cause: &str) -> HubEvent {
    HubEvent::Closed { close: None, timed_out: true, cause: cause.to_owned() }
}

/// This peer has closed the WebSocket. Nothing reads this event.
fn closed_here() -> HubEvent {
    HubEvent::Closed { close: None, timed_out: false, cause: String::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mesh::tests::vectors::{hex, vectors};

    #[test]
    fn messages_of_the_hub_are_those_of_the_vectors() {
        for entry in vectors("hub") {
            let bytes = Bytes::from(hex(entry["hex"].as_str().expect("hex")));
            let message = Message::decode(bytes.clone());
            assert_eq!(message.as_ref().map_or(Value::Null, to_json), entry["message"], "{entry}");
            if entry["decodeOnly"] != true {
                assert_eq!(message.map(Message::encode), Ok(bytes), "{entry}");
            }
        }
    }

    fn to_json(message: &Message) -> Value {
        match message {
            Message::Heartbeat => json!({ "heartbeat": true }),
            Message::Connected(member) => json!({ "connected": member }),
            Message::Connect { id, members } => {
                let members: Vec<_> = members.iter().map(|member| member.0).collect();
                json!({ "connect": { "id": id.0, "members": members } })
            }
            Message::Content { sender, recipient, last, data } => json!({ "content": {
                "senderId": sender, "recipientId": recipient, "lastData": last, "data": String::from_utf8_lossy(data),
            } }),
            _ => panic!("unknown message"),
        }
    }
}
