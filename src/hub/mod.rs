//! When things happen: the tasks, timers, queues and limits around the protocol.

mod allowance;
mod builder;
mod closing;
mod config_error;
mod connection;
mod deadlines;
mod departure;
mod ending;
mod entrance;
mod events;
mod guard;
#[cfg(all(test, shuttle))]
mod interleavings;
mod limits;
mod link_ids;
mod meters;
mod opening;
mod outbox;
mod rate;
mod registry;
mod room;
mod seat;
mod snapshot;
mod stats;
mod sync;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{CloseCode, PeerId};
use crate::transport::Transport;
pub use builder::HubBuilder;
pub use config_error::ConfigError;
use connection::Connection;
pub use ending::Ending;
#[cfg(feature = "hyper")]
pub use entrance::ProxyHeader;
#[cfg(feature = "signed-keys")]
pub use entrance::SignedKeys;
use entrance::{Addresses, Guards};
pub use entrance::{Admission, Entrance, Pass, Refusal, Ticket, Visitor};
use events::Listeners;
pub use events::{Departure, HubEvent};
pub use guard::Guard;
pub(crate) use limits::Limits;
use link_ids::LinkIds;
use meters::Meters;
pub use opening::Opening;
#[cfg(feature = "hyper")]
pub(crate) use rate::Bucket;
use registry::Registry;
use seat::Seat;
pub use snapshot::{GroupSnapshot, PeerSnapshot};
use stats::{Count, Counters};
pub use stats::{Stats, TurnedAway};
use sync::AtomicBool;

/// Where peers with one key find each other.
///
/// A clone is cheap and means the same hub. The hub owns no listener, runtime or task: each peer lives in the future
/// of its own [`SignalingHub::serve`], and what it leaves behind is nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use sigver::{SignalingHub, memory};
///
/// let hub = SignalingHub::new();
/// let mut alice = memory::open(&hub, "a key");
/// let mut bob = memory::open(&hub, "a key");
///
/// assert!(alice.ask(1, &[]).await); // The first one is a member at once.
/// assert!(!bob.ask(2, &[]).await); // The second is bound to her, and signals:
/// bob.content(0, "offer").await;
/// let (link, offer) = alice.receive_content().await;
/// assert_eq!(offer, "offer");
/// alice.content(link, "answer").await;
/// assert_eq!(bob.receive_content().await.1, "answer");
/// assert_eq!(hub.stats().relayed, 2);
/// # }
/// ```
#[derive(Clone)]
pub struct SignalingHub {
    shared: Arc<Shared>,
}

/// What all clones of a hub and all of its peers share.
struct Shared {
    limits: Limits,
    guards: Guards,
    addresses: Addresses,
    listeners: Listeners,
    registry: Registry,
    link_ids: LinkIds,
    counters: Counters,
    meters: Meters,
    peers: AtomicU64,
    leaving: AtomicBool,
    /// When the hub began: what heartbeats are aligned to, and the zero of its clock.
    epoch: Instant,
}

impl SignalingHub {
    /// A hub with the default limits.
    pub fn new() -> Self {
        Self::with(Limits::default(), Guards::default())
    }

    /// A hub with other limits.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let hub = sigver::SignalingHub::builder().max_peers_per_group(50).build()?;
    /// let error = sigver::SignalingHub::builder().heartbeat(Duration::from_secs(9)).build().unwrap_err();
    /// assert_eq!(error.to_string(), "heartbeat is 9s; it has to be more than 0 and at most 5s");
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    fn with(limits: Limits, guards: Guards) -> Self {
        let shared = Shared {
            limits,
            guards,
            addresses: Addresses::default(),
            listeners: Listeners::default(),
            registry: Registry::default(),
            link_ids: LinkIds::default(),
            counters: Counters::default(),
            meters: Meters::default(),
            peers: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            epoch: Instant::now(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Counts a refusal that the peer was told by an HTTP status.
    #[cfg(feature = "hyper")]
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.shared.turned_away(refusal.guard(), refusal.reason());
    }

    /// Counts a connection that did not become a WebSocket in time.
    #[cfg(feature = "hyper")]
    pub(crate) fn upgrade_timed_out(&self) {
        self.shared.turned_away(Some(Guard::UpgradeWithin), "the upgrade took too long");
    }

    /// Counts a socket before it is there, for [`SignalingHub::shutdown`] to wait for.
    #[cfg(feature = "hyper")]
    pub(crate) fn expect(&self, entrance: impl Into<Entrance>) -> Entrance {
        Entrance { expected: Some(Count::up(&self.shared.counters.sockets)), ..entrance.into() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Serves one peer until it leaves or is closed, and says which.
    ///
    /// This is the one way in. The adapters call it; an app that has a socket of its own calls it too. It has to run
    /// within a tokio runtime that has its timer enabled.
    ///
    /// Who is not let in is answered here, by a close code, as a browser cannot read an HTTP status; so is a key that is
    /// none. [`SignalingHub::admit`] asks beforehand.
    ///
    /// # Cancel safety
    /// Dropping the future at any point takes the peer out of its group at once, tells those at the other ends of its
    /// links, and drops the transport without a close code.
    pub fn serve<T: Transport>(&self, transport: T, entrance: impl Into<Entrance>) -> impl Future<Output = Ending> {
        // Boxed, as a future keeps room for what it is given and once more for what it pins.
        let (transport, entrance) = (Box::pin(transport), entrance.into());
        async move {
            let shared = &self.shared;
            let Entrance { step, expected } = entrance;
            let _open = expected.unwrap_or_else(|| Count::up(&shared.counters.sockets));
            // Goes before the count does, also when this is dropped on the way.
            let mut transport = transport;
            let seat = step.ask(shared).await.map_err(|refusal| refusal.closing);
            let seat = seat.and_then(|ticket| Seat::take(shared, ticket));
            let ending = match seat {
                Ok(seat) => Connection::run(seat, transport.as_mut(), shared).await,
                Err(closing) => Box::pin(closing.carry_out(transport.as_mut(), VecDeque::new(), shared)).await,
            };
            tracing::debug!(%ending, "socket closed");
            ending
        }
    }

    /// How many there are of what, now.
    pub fn stats(&self) -> Stats {
        let Shared { registry, link_ids, counters, .. } = &*self.shared;
        Stats {
            peers: counters.seats.now(),
            groups: registry.rooms(),
            links: link_ids.in_use(),
            relayed: registry.relayed(),
            turned_away: counters.turned_away(),
        }
    }
}

impl Shared {
    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// The time since the hub began.
    fn clock(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }

    /// Counts a peer that was refused or put out.
    fn turned_away(&self, guard: Option<Guard>, reason: &str) {
        if let Some(guard) = guard {
            self.meters.turned_away(guard);
            self.counters.turned_away[guard as usize].fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%guard, reason, "turned away");
            self.listeners.tell(|| HubEvent::TurnedAway { guard, reason: reason.into() });
        }
    }

    /// Counts one more peer in all.
    fn count_peer(&self) -> Result<Count, Refusal> {
        let most = self.limits.max_peers;
        Count::up_to(&self.counters.tickets, most).ok_or_else(|| {
            let reason = format!("there are {most} peers already");
            Refusal::by(Guard::MaxPeers, CloseCode::TryAgainLater, reason)
        })
    }

    fn next_peer(&self) -> PeerId {
        PeerId(self.peers.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for SignalingHub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SignalingHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalingHub").field("stats", &self.stats()).field("limits", self.limits()).finish()
    }
}
