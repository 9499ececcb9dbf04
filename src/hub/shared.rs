//! The handle of a hub, and the state that all of its peers share.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "turn")]
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use super::admission::AccessRules;
use super::admission::ip_limiter::IpLimiter;
use super::admission::permit::PeerSlot;
use super::admission::rejected_peer::RejectedPeer;
use super::admission::rejection::Rejection;
use super::close::{Close, DisconnectReason};
#[cfg(feature = "turn")]
use super::ice::servers::IceServers;
use super::limits::config::Config;
use super::limits::draining::Draining;
#[cfg(feature = "cluster")]
use super::observability::cluster_stats::ClusterStats;
use super::observability::event_bus::EventBus;
use super::observability::events::HubEvent;
use super::observability::key_hash::KeyHash;
use super::observability::limit_log::{Example, LimitLog};
use super::observability::metrics::Metrics;
#[cfg(feature = "hyper")]
use super::observability::setup_warnings::SetupWarnings;
use super::observability::stats::{Counters, HubStats};
use super::rooms::identity_index::IdentityIndex;
use super::rooms::outbox_budget::OutboxBudget;
use super::rooms::peer_index::PeerIndex;
use super::rooms::registry::Registry;
use crate::protocol::{GroupKey, PeerId};

/// Connects peers that join with the same key by relaying their signals.
///
/// A clone is cheap and refers to the same hub. The hub owns no listener, runtime or task. Each peer is served by its
/// own [`SignalingHub::serve`] future. When that ends or is dropped, all state of the peer is removed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use sigver::{SignalingHub, memory};
///
/// let hub = SignalingHub::new();
/// let mut alice = memory::join(&hub, "a key");
/// let mut bob = memory::join(&hub, "a key");
///
/// assert!(alice.connect(1, &[]).await); // The first peer becomes a member at once.
/// assert!(!bob.connect(2, &[]).await); // The second is bound to her and sends an offer:
/// bob.send_content(0, "offer").await; // 0: the member that Bob is bound to
/// let (link, offer) = alice.recv_content().await;
/// assert_eq!(offer, "offer");
/// alice.send_content(link, "answer").await;
/// assert_eq!(bob.recv_content().await.1, "answer");
/// assert_eq!(hub.stats().relayed_messages, 2);
/// # }
/// ```
#[derive(Clone)]
pub struct SignalingHub {
    pub(super) shared: Arc<Shared>,
}

/// The state that all clones of a hub and all of its peers share.
pub(super) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) access_rules: AccessRules,
    pub(super) ip_limiter: Arc<IpLimiter>,
    pub(super) events: Arc<EventBus>,
    pub(super) registry: Registry,
    pub(super) peer_index: PeerIndex,
    pub(super) identities: Arc<IdentityIndex>,
    pub(super) outbox_budget: Arc<OutboxBudget>,
    pub(super) counters: Counters,
    pub(super) metrics: Metrics,
    pub(super) limit_log: LimitLog,
    #[cfg(feature = "hyper")]
    pub(super) setup_warnings: SetupWarnings,
    pub(super) draining: Draining,
    /// Taken from the access rules, so that no replaced secret stays in memory.
    #[cfg(feature = "turn")]
    pub(super) ice_servers: RwLock<Option<IceServers>>,
    /// Heartbeats are aligned to this moment. It is the zero of the hub's clock.
    pub(super) epoch: Instant,
    next_peer: AtomicU64,
}

impl SignalingHub {
    /// Creates a hub with the default settings.
    pub fn new() -> Self {
        Self::with(Config::default(), AccessRules::default())
    }

    pub(super) fn with(config: Config, access_rules: AccessRules) -> Self {
        Self { shared: Arc::new(Shared::new(config, access_rules)) }
    }

    /// Returns the name of the hub ([`HubBuilder::name`](crate::HubBuilder::name)).
    pub fn name(&self) -> Option<&str> {
        self.shared.name()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Returns whether the pages that may join are restricted to a list of origins.
    #[cfg(feature = "hyper")]
    pub(crate) fn has_allowed_origins(&self) -> bool {
        self.shared.access_rules.origins.is_some()
    }

    /// Returns whether pages of this origin may join.
    #[cfg(feature = "hyper")]
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.shared.access_rules.origins.as_ref().is_none_or(|origins| origins.check(Some(origin)).is_ok())
    }

    /// Returns the current counts of the hub.
    pub fn stats(&self) -> HubStats {
        let Shared { registry, counters, outbox_budget, .. } = &*self.shared;
        HubStats {
            peers: counters.peers.get(),
            groups: registry.room_count(),
            links: registry.link_count(),
            reserved_outbox_bytes: outbox_budget.reserved(),
            relayed_messages: registry.relayed_messages(),
            ice_configurations: counters.ice_configurations.load(Ordering::Relaxed),
            rejections: counters.rejections(),
            closes: counters.closes(),
        }
    }
}

#[cfg(feature = "cluster")]
impl SignalingHub {
    /// Returns what this node of a cluster has counted. `None` if the hub is not in a cluster.
    pub fn cluster_stats(&self) -> Option<ClusterStats> {
        let rooms = self.shared.registry.cluster()?;
        Some(rooms.bus().stats(self.shared.clock()))
    }
}

impl Shared {
    pub(super) fn new(config: Config, access_rules: AccessRules) -> Self {
        #[cfg(feature = "turn")]
        let (ice_servers, access_rules) = {
            let mut rules = access_rules;
            (RwLock::new(rules.ice_servers.take()), rules)
        };
        let (config, events, epoch) = (Arc::new(config), Arc::<EventBus>::default(), Instant::now());
        let (metrics, limit_log) = (Metrics::new(config.name.clone()), LimitLog::new(epoch, config.name.clone()));
        Self {
            outbox_budget: Arc::default(),
            registry: Registry::new(config.clone(), events.clone()),
            peer_index: PeerIndex::default(),
            identities: Arc::new(IdentityIndex::new(&config)),
            config,
            #[cfg(feature = "turn")]
            ice_servers,
            access_rules,
            ip_limiter: Arc::new(IpLimiter::new(epoch)),
            events,
            counters: Counters::default(),
            metrics,
            limit_log,
            #[cfg(feature = "hyper")]
            setup_warnings: SetupWarnings::default(),
            draining: Draining::default(),
            epoch,
            next_peer: AtomicU64::new(0),
        }
    }

    /// Returns the name of the hub, which its spans and log lines show.
    pub(super) fn name(&self) -> Option<&str> {
        self.config.name.as_deref()
    }

    /// Returns a span with the name of the hub, for log lines outside of the peers' spans. None if it has no name.
    ///
    /// Its level is the least verbose one, because a subscriber that does not enable a span omits its fields.
    pub(super) fn span(&self) -> Span {
        self.name().map_or_else(Span::none, |hub| tracing::error_span!("hub", hub))
    }

    /// Rejects all further joins. The caller collects the peers afterwards, see [`Draining`].
    pub(super) fn start_draining(&self) {
        self.draining.start();
        self.limit_log.write_all();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_set()
    }

    /// Returns the time after which a peer is closed if its `connect` has no answer. `None` if the hub is not in a
    /// cluster, because then it answers at once.
    #[cfg(feature = "cluster")]
    pub(super) fn connect_answer_timeout(&self) -> Option<Duration> {
        self.registry.cluster().map(|rooms| rooms.bus().connect_answer_timeout())
    }

    /// Returns the time since the hub was created.
    pub(super) fn clock(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }

    /// Reports a rejected join to counters, metrics, logs and events, unless that was done before. Returns the rejection.
    pub(super) fn record_rejection<'a>(
        &self,
        mut rejection: Rejection,
        peer: impl Into<RejectedPeer<'a>>,
    ) -> Rejection {
        if std::mem::replace(&mut rejection.counted, true) {
            return rejection;
        }
        let peer = peer.into();
        let RejectedPeer { key, client_ip, .. } = peer;
        rejection.client_ip = client_ip;
        let (cause, reason) = (rejection.cause(), rejection.reason());
        let loggable_reason = rejection.loggable_reason();
        self.counters.count_rejection(cause);
        self.metrics.rejected(cause);
        self.limit_log.count_rejection(cause, || Example {
            client_ip,
            group: key.map(|key| KeyHash(self.registry.hash(key))),
            peer: None,
            code: rejection.close_code(),
            reason: loggable_reason.map(Arc::from),
        });
        tracing::debug!(hub = self.name(), %cause, reason = loggable_reason, "rejected");
        self.events.emit(|| HubEvent::Rejected {
            is_upgrade: peer.is_upgrade,
            cause,
            reason: reason.into(),
            key: key.cloned(),
            client_ip,
            identity: peer.identity(),
            data: peer.data(),
        });
        rejection
    }

    /// Reports a joined peer that the hub closed to metrics and logs. The counters have counted it.
    pub(super) fn report_close(&self, reason: &DisconnectReason, peer: PeerId, slot: &PeerSlot) {
        let DisconnectReason::ClosedByHub { code, reason, cause } = reason else { return };
        self.metrics.closed(*code, *cause);
        if let Some(cause) = cause {
            self.limit_log.count_close(*cause, || Example {
                client_ip: slot.client_ip(),
                group: Some(KeyHash(self.registry.hash(&slot.key))),
                peer: Some(peer),
                code: *code,
                reason: Some(reason.clone()),
            });
        }
    }

    /// Reports the answer to a peer's `connect` to metrics, logs and events. The caller must hold no lock.
    pub(super) fn report_answer(&self, peer: PeerId, key: &GroupKey, member: bool) {
        self.metrics.connect_answered(member);
        tracing::debug!(member, peer = peer.0, "connect answered");
        self.events.emit(|| HubEvent::ConnectAnswered { peer, key: key.clone(), member });
    }

    /// Closes the peers of this hub to which the app gave an identity, and returns their number.
    pub(super) fn close_identity(&self, identity: &str, close: &Close) -> usize {
        self.identities.close(identity, close, self.clock())
    }

    pub(super) fn next_peer(&self) -> PeerId {
        PeerId(self.next_peer.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for SignalingHub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SignalingHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalingHub").field("stats", &self.stats()).field("config", self.config()).finish()
    }
}
