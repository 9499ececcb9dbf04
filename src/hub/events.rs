//! What happens in a hub, for whoever wants to be told.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Guard, SignalingHub};
use crate::protocol::{CloseCode, GroupKey, PeerId};

/// Something that happened in a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubEvent {
    /// The first peer with a key came.
    #[non_exhaustive]
    GroupCreated {
        /// The group's key.
        key: GroupKey,
    },
    /// A peer was let in.
    #[non_exhaustive]
    Opened {
        /// The hub's own number for it, which no other peer of this hub ever has.
        peer: PeerId,
        /// Its group's key.
        key: GroupKey,
        /// Whom the app's [`Admission`](crate::Admission) took it for.
        identity: Option<Arc<str>>,
        /// Where it comes from, if that is known.
        address: Option<IpAddr>,
    },
    /// A peer asked, and is a member. Clients ask more than once.
    #[non_exhaustive]
    Admitted {
        /// Which peer.
        peer: PeerId,
        /// Its group's key.
        key: GroupKey,
    },
    /// A peer asked, and was bound to a member.
    #[non_exhaustive]
    Bound {
        /// Which peer.
        peer: PeerId,
        /// Its group's key.
        key: GroupKey,
    },
    /// A peer has left its group. Its socket may take a little longer.
    #[non_exhaustive]
    Left {
        /// Which peer.
        peer: PeerId,
        /// Its group's key.
        key: GroupKey,
        /// Whom the app's [`Admission`](crate::Admission) took it for.
        identity: Option<Arc<str>>,
        /// Why.
        departure: Departure,
    },
    /// The last peer with a key left.
    #[non_exhaustive]
    GroupGone {
        /// The group's key.
        key: GroupKey,
    },
    /// A peer was refused or put out by a guard.
    #[non_exhaustive]
    TurnedAway {
        /// Which one.
        guard: Guard,
        /// What the peer was told.
        reason: Arc<str>,
    },
    /// So many events were not read in time and are lost to this reader.
    #[non_exhaustive]
    Missed {
        /// How many.
        count: u64,
    },
}

/// Why a peer left its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Departure {
    /// It closed its socket, with this code if it gave one, or went without a word.
    Left(Option<u16>),
    /// The hub closed it.
    Closed(CloseCode),
    /// Its socket failed.
    Lost,
    /// The app dropped the future that served it.
    Dropped,
}

/// Who listens. Nothing is made for events before anybody does.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    sender: OnceLock<broadcast::Sender<HubEvent>>,
}

impl Listeners {
    /// Tells those who listen, and makes the event only for them. Never waits.
    pub(super) fn tell(&self, event: impl FnOnce() -> HubEvent) {
        if let Some(sender) = self.sender.get().filter(|sender| sender.receiver_count() > 0) {
            // The last one has stopped listening.
            let _ = sender.send(event());
        }
    }
}

impl SignalingHub {
    /// What happens from now on. Each call makes a reader of its own.
    ///
    /// [`HubBuilder::kept_events`](crate::HubBuilder::kept_events) wait for a reader. One that lags more than that is
    /// told how many it has missed, by [`HubEvent::Missed`], and never slows the hub. The stream ends when the last
    /// clone of the hub is gone, its peers' ones included.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use futures::StreamExt as _;
    /// use sigver::{HubEvent, SignalingHub, memory};
    ///
    /// let hub = SignalingHub::new();
    /// let mut events = hub.events();
    /// let alice = memory::open(&hub, "a key");
    /// assert!(matches!(events.next().await, Some(HubEvent::GroupCreated { key, .. }) if key.as_str() == "a key"));
    /// assert!(matches!(events.next().await, Some(HubEvent::Opened { .. })));
    /// # }
    /// ```
    pub fn events(&self) -> impl Stream<Item = HubEvent> + Send + Unpin + use<> {
        let kept = self.shared.limits.kept_events;
        let sender = self.shared.listeners.sender.get_or_init(|| broadcast::Sender::new(kept));
        Box::pin(unfold(sender.subscribe(), |mut receiver| async {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(RecvError::Lagged(count)) => Some((HubEvent::Missed { count }, receiver)),
                Err(RecvError::Closed) => None,
            }
        }))
    }
}
