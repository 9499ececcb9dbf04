//! A client that notes everything that it observes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use sigver::memory::{ChannelTransport, pair};
use sigver::protocol::Message;
use sigver::{DisconnectReason, Frame, JoinRequest, SignalingHub};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::cluster::settle;
use crate::switch::Switch;

/// The number of frames that a transport holds in each direction: enough that no client waits.
const CAPACITY: usize = 4096;

/// A client of one hub. It answers heartbeats. Dropping it drops the socket.
pub(crate) struct Peer {
    commands: UnboundedSender<Frame>,
    observed: Arc<Observed>,
    /// The hub's future for this peer.
    pub(crate) served: JoinHandle<DisconnectReason>,
}

#[derive(Default)]
struct Observed {
    seen: Mutex<Vec<Seen>>,
    heartbeats: AtomicUsize,
}

/// What a peer observes, apart from heartbeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Answer(bool),
    FromJoiner(u32, Bytes),
    FromMember(u32, Bytes),
    Close(u16, String),
    /// The connection ended without a close frame.
    Lost,
}

impl Peer {
    /// Joins a hub. The hub's future runs under the switch.
    pub(crate) fn join(hub: &SignalingHub, switch: &Switch, request: impl Into<JoinRequest>) -> Self {
        Self::start(hub, switch, request.into(), true)
    }

    /// Joins a hub with a peer that sends no heartbeats.
    pub(crate) fn join_silent(hub: &SignalingHub, switch: &Switch, request: impl Into<JoinRequest>) -> Self {
        Self::start(hub, switch, request.into(), false)
    }

    fn start(hub: &SignalingHub, switch: &Switch, request: JoinRequest, has_heartbeats: bool) -> Self {
        let (there, here) = pair(CAPACITY);
        let served = tokio::spawn(switch.clone().run(hub.serve(there, request)));
        let (commands, sent) = unbounded_channel();
        let observed = Arc::<Observed>::default();
        tokio::spawn(run(here, sent, observed.clone(), has_heartbeats));
        Self { commands, observed, served }
    }

    /// Drops the socket, and returns the hub's future.
    pub(crate) fn disconnect(self) -> JoinHandle<DisconnectReason> {
        self.served
    }

    pub(crate) fn send(&self, message: Message) {
        self.send_frame(Frame::Binary(message.encode()));
    }

    pub(crate) fn send_frame(&self, frame: Frame) {
        // A client that was closed notes why.
        let _ = self.commands.send(frame);
    }

    /// Sends `connect` without waiting for the answer.
    pub(crate) fn send_connect(&self, id: u32, members: &[u32]) {
        self.send(Message::connect(id, members));
    }

    pub(crate) fn send_content(&self, recipient: u32, data: impl Into<Bytes>) {
        self.send(Message::content(recipient, data));
    }

    /// Sends `connect` and returns the answer, which must be all that the peer observes at that time.
    pub(crate) async fn connect(&self, id: u32, members: &[u32]) -> bool {
        assert!(self.take().is_empty(), "the test has not looked at everything");
        self.send_connect(id, members);
        settle().await;
        match &*self.take_seen() {
            [Seen::Answer(member)] => *member,
            seen => panic!("expected an answer to connect, got {seen:?}"),
        }
    }

    /// Returns what the peer has observed since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.observed.seen.lock().expect("nothing panics under this lock"))
    }

    /// Returns what the peer has observed since the last call, without the ids of links.
    pub(crate) fn take(&self) -> Vec<String> {
        self.take_seen().iter().map(Seen::to_text).collect()
    }

    /// Returns what the peer has received from a joiner since the last call, and the id of the link.
    pub(crate) fn take_link(&self) -> (u32, Bytes) {
        match &*self.take_seen() {
            [Seen::FromJoiner(link, data)] => (*link, data.clone()),
            seen => panic!("expected content of a joiner, got {seen:?}"),
        }
    }

    /// Returns the number of heartbeats that the peer has received.
    pub(crate) fn heartbeats(&self) -> usize {
        self.observed.heartbeats.load(Ordering::Relaxed)
    }
}

impl Seen {
    pub(crate) fn to_text(&self) -> String {
        let text = |from: &str, data: &Bytes| match &**data {
            [] => format!("{from}: end"),
            data => format!("{from}: {}", String::from_utf8_lossy(data)),
        };
        match self {
            Self::Answer(member) => member.to_string(),
            Self::FromJoiner(_, data) => text("joiner", data),
            Self::FromMember(_, data) => text("member", data),
            Self::Close(code, reason) => format!("close {code}: {reason}"),
            Self::Lost => "lost".to_owned(),
        }
    }
}

/// Exchanges frames with the hub until one of the two ends the connection.
async fn run(
    mut transport: ChannelTransport,
    mut commands: UnboundedReceiver<Frame>,
    observed: Arc<Observed>,
    has_heartbeats: bool,
) {
    loop {
        let frame = tokio::select! {
            biased;
            frame = transport.next() => frame,
            command = commands.recv() => match command {
                // A transport that fails ends the stream of frames.
                Some(frame) => { let _ = transport.feed(frame).await; continue }
                None => return,
            },
        };
        let seen = match frame {
            Some(Ok(Frame::Binary(bytes))) => match Message::decode(bytes).expect("hubs send valid messages") {
                Message::Heartbeat => {
                    observed.heartbeats.fetch_add(1, Ordering::Relaxed);
                    if has_heartbeats {
                        let _ = transport.feed(Frame::Binary(Message::HEARTBEAT)).await;
                    }
                    continue;
                }
                Message::Connected(member) => Seen::Answer(member),
                Message::Content { sender: 0, recipient, data, .. } => Seen::FromMember(recipient, data),
                Message::Content { sender, recipient: 0, data, .. } => Seen::FromJoiner(sender, data),
                other => panic!("no hub sends {other:?}"),
            },
            Some(Ok(Frame::Close(frame))) => {
                let frame = frame.expect("hubs send a code");
                let _ = transport.feed(Frame::Close(None)).await;
                Seen::Close(frame.code, frame.reason)
            }
            None => Seen::Lost,
            other => panic!("no hub sends {other:?}"),
        };
        let is_last = matches!(seen, Seen::Close(..) | Seen::Lost);
        observed.seen.lock().expect("nothing panics under this lock").push(seen);
        if is_last {
            return;
        }
    }
}
