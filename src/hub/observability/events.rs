//! The stream of events of a hub.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::TryRecvError};

use crate::hub::close::DisconnectReason;
use crate::hub::limits::Cause;
use crate::hub::sync::switch_point;
use crate::protocol::{GroupKey, PeerId};

/// An event of a hub, from [`SignalingHub::events`](crate::SignalingHub::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HubEvent {
    /// The first peer with this key joined.
    #[non_exhaustive]
    GroupCreated {
        /// The group's key.
        key: GroupKey,
    },
    /// A peer joined a group.
    #[non_exhaustive]
    PeerJoined {
        /// The id that the hub assigned to the peer. The hub never reuses it.
        peer: PeerId,
        /// The group's key.
        key: GroupKey,
        /// The identity that the app's [`Admission`](crate::Admission) gave the peer.
        identity: Option<Arc<str>>,
        /// The client IP, if it is known.
        client_ip: Option<IpAddr>,
    },
    /// The hub answered a `connect` of a peer. A peer may send several.
    #[non_exhaustive]
    ConnectAnswered {
        /// The id that the hub assigned to the peer.
        peer: PeerId,
        /// The group's key.
        key: GroupKey,
        /// Whether the peer became a member. Otherwise, it is bound to a member.
        member: bool,
    },
    /// A peer left its group. Its connection may take longer to close.
    #[non_exhaustive]
    PeerLeft {
        /// The id that the hub assigned to the peer.
        peer: PeerId,
        /// The group's key.
        key: GroupKey,
        /// The identity that the app's [`Admission`](crate::Admission) gave the peer.
        identity: Option<Arc<str>>,
        /// Why the peer left.
        reason: DisconnectReason,
    },
    /// The last peer with this key left.
    #[non_exhaustive]
    GroupRemoved {
        /// The group's key.
        key: GroupKey,
    },
    /// The hub rejected a join.
    #[non_exhaustive]
    Rejected {
        /// The limit or check that rejected it.
        cause: Cause,
        /// The reason that the peer received.
        reason: Arc<str>,
    },
    /// This reader was too slow and lost events.
    #[non_exhaustive]
    Lagged {
        /// The number of lost events.
        missed: u64,
    },
}

/// Sends events to all readers. Costs nothing until the first reader subscribes.
///
/// Sending has two steps, because a reader's waker is code of the app: [`EventBus::push`] may be called under a lock,
/// which fixes the order of events, and [`EventBus::wake_readers`] must not.
#[derive(Debug, Default)]
pub(in crate::hub) struct EventBus {
    sender: OnceLock<broadcast::Sender<HubEvent>>,
    /// Readers wait here and not in the channel, whose `send` would wake them.
    pushed: Arc<Notify>,
}

impl EventBus {
    /// Sends an event to the current readers. Never waits, and creates the event only if there is a reader.
    pub(in crate::hub) fn emit(&self, event: impl FnOnce() -> HubEvent) {
        self.push(event);
        self.wake_readers();
    }

    /// Queues an event for the current readers without waking them. Runs no code of the app.
    pub(in crate::hub) fn push(&self, event: impl FnOnce() -> HubEvent) {
        switch_point();
        if let Some(sender) = self.sender.get().filter(|sender| sender.receiver_count() > 0) {
            // Fails only if the last reader has unsubscribed in the meantime. Then nothing needs the event.
            let _ = sender.send(event());
        }
    }

    /// Wakes the readers after [`EventBus::push`]. The caller must hold no lock.
    pub(in crate::hub) fn wake_readers(&self) {
        if self.sender.get().is_some() {
            self.pushed.notify_waiters();
        }
    }

    pub(in crate::hub) fn subscribe(&self, capacity: usize) -> impl Stream<Item = HubEvent> + Send + Unpin + use<> {
        let sender = self.sender.get_or_init(|| broadcast::Sender::new(capacity));
        let reader = (sender.subscribe(), self.pushed.clone());
        Box::pin(unfold(reader, |(mut receiver, pushed)| async {
            let event = next(&mut receiver, &pushed).await?;
            Some((event, (receiver, pushed)))
        }))
    }
}

impl Drop for EventBus {
    /// Ends the streams of the readers.
    fn drop(&mut self) {
        self.sender.take();
        self.pushed.notify_waiters();
    }
}

/// Returns the next event of a reader. `None` if the hub was dropped.
async fn next(receiver: &mut broadcast::Receiver<HubEvent>, pushed: &Notify) -> Option<HubEvent> {
    loop {
        // Create the future first: it also receives a notification between `try_recv` and the await.
        let notified = pushed.notified();
        match receiver.try_recv() {
            Ok(event) => return Some(event),
            Err(TryRecvError::Lagged(missed)) => return Some(HubEvent::Lagged { missed }),
            Err(TryRecvError::Closed) => return None,
            Err(TryRecvError::Empty) => notified.await,
        }
    }
}
