//! From a join request to a served peer: the order of the checks, and the one way into a hub.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tracing::Instrument as _;

use super::admission::hook;
use super::admission::permit::{ConnectionCount, PeerSlot};
use super::admission::rejection::Rejection;
use super::admission::request::JoinRequest;
use super::close::DisconnectReason;
use super::connection::Connection;
use super::connection::close_handshake::close_handshake;
use super::connection::grant::{AdmittedPeer, Grant};
use super::connection::peer_guard::PeerGuard;
use super::limits::Cause;
#[cfg(feature = "hyper")]
use super::limits::config::Config;
use super::limits::count::CountGuard;
use super::rooms::frame_queue::FrameQueue;
use super::shared::{Shared, SignalingHub};
use crate::protocol::{CloseCode, GroupKey};
use crate::transport::Transport;

/// Permission to serve one peer, from [`SignalingHub::admit`].
///
/// It counts the connection, and holds the peer's slot in `max_peers` and `max_peers_per_ip`. Dropping it releases both.
/// `max_groups` and `max_peers_per_group` are checked when the peer is served.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use sigver::{SignalingHub, memory};
///
/// let hub = SignalingHub::new();
/// let admitted = hub.admit("a key").await;
/// let (transport, client) = memory::pair(16); // Accept the handshake of the peer here.
/// match admitted {
///     Ok(permit) => _ = tokio::spawn(permit.serve(transport)),
///     Err(rejection) => _ = tokio::spawn(hub.reject(transport, rejection)),
/// }
/// assert!(memory::TestClient::new(client).connect(1, &[]).await);
/// # }
/// ```
#[must_use]
pub struct Permit {
    peer: AdmittedPeer,
    count: ConnectionCount,
    shared: Arc<Shared>,
}

impl SignalingHub {
    /// Serves one peer until it disconnects, and returns the reason.
    ///
    /// Every peer enters the hub through this method, or through [`SignalingHub::admit`] and [`Permit::serve`]. The
    /// adapters call them. Call them yourself for a transport of your own, within a tokio runtime that has its timer
    /// enabled.
    ///
    /// The future does not borrow the hub. It closes the connection with the rejection's close code if admission fails,
    /// or with 4741 or 4745 if the key is invalid. Browsers cannot read the HTTP status of a failed handshake, but they
    /// can read a close code.
    ///
    /// The connection counts from this call on: a drain waits for it even if the future was never polled. If the hub or
    /// the client IP has more than twice as many connections as it may have peers, the hub drops the connection without
    /// a close handshake, which would keep it open.
    ///
    /// # Cancel safety
    /// Cancel safe at any point: dropping the future removes the peer from its group, notifies linked peers and drops
    /// the transport without a close frame.
    pub fn serve<T: Transport, R: Into<JoinRequest>>(
        &self,
        transport: T,
        request: R,
    ) -> impl Future<Output = DisconnectReason> + use<T, R> {
        let (request, count) = self.shared.open(request.into());
        serve(self.shared.clone(), count, transport, Box::new(PendingJoin::Requested(request)))
    }

    /// Decides whether a peer may join, before its connection exists.
    ///
    /// [`SignalingHub::serve`] decides on its own. The adapters call this method before they accept the WebSocket
    /// handshake, so that a rejection can become an HTTP status.
    ///
    /// The checks run in this order: connections of the hub and of the client IP, drain, origin, join rate and number of
    /// peers of the client IP, number of all peers, key, the app's [`Admission`](crate::Admission), and
    /// `max_peers_per_identity`. `max_groups` and `max_peers_per_group` are checked when the peer is served.
    ///
    /// A rejected connection stays open until its close handshake ends. If there are more than twice as many connections
    /// as there may be peers, the rejection therefore has an HTTP status: 503 for `max_peers`, 429 for
    /// `max_peers_per_ip`.
    ///
    /// # Errors
    /// The rejection, which the hub has counted. Answer the handshake with its status, or accept the handshake and pass
    /// the connection to [`SignalingHub::reject`].
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future or the returned permit releases the peer's slot.
    pub async fn admit(&self, request: impl Into<JoinRequest>) -> Result<Permit, Rejection> {
        let (request, count) = self.shared.open(request.into());
        let peer = self.shared.admit(request, &count).await?;
        Ok(Permit { peer, count, shared: self.shared.clone() })
    }

    /// Closes the connection of a rejected peer with the rejection's close code and reason.
    ///
    /// The hub counts a rejection that the app created. It does not count one from [`SignalingHub::admit`] again. It drops
    /// the connection without a close handshake if there are too many connections, as [`SignalingHub::serve`] does.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport. The peer may then miss the close code.
    pub fn reject<T: Transport>(
        &self,
        transport: T,
        mut rejection: Rejection,
    ) -> impl Future<Output = DisconnectReason> + use<T> {
        let count = self.shared.count_connection(rejection.client_ip);
        rejection.drops_connection |= count.check(&self.shared.config).is_err();
        serve(self.shared.clone(), count, transport, Box::new(PendingJoin::Rejected(rejection)))
    }

    /// Decides the admission of a connection, as [`SignalingHub::admit`] does, and counts the connection while its
    /// handshake completes.
    #[cfg(feature = "hyper")]
    pub(crate) async fn expect_connection(&self, request: JoinRequest) -> PendingConnection {
        let (request, count) = self.shared.open(request);
        let join = Box::new(match self.shared.admit(request, &count).await {
            Ok(peer) => PendingJoin::Admitted(peer),
            Err(rejection) => PendingJoin::Rejected(rejection),
        });
        PendingConnection { join, count, shared: self.shared.clone() }
    }
}

/// A connection whose handshake has not completed, and whose admission was decided. A drain waits for it.
#[cfg(feature = "hyper")]
pub(crate) struct PendingConnection {
    join: Box<PendingJoin>,
    count: ConnectionCount,
    shared: Arc<Shared>,
}

#[cfg(feature = "hyper")]
impl PendingConnection {
    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Returns the rejection, if the join was rejected.
    pub(crate) fn rejection(&self) -> Option<&Rejection> {
        match &*self.join {
            PendingJoin::Rejected(rejection) => Some(rejection),
            PendingJoin::Requested(_) | PendingJoin::Admitted(_) => None,
        }
    }

    /// Serves or rejects the peer.
    pub(crate) fn serve<T: Transport>(self, transport: T) -> impl Future<Output = DisconnectReason> {
        serve(self.shared, self.count, transport, self.join)
    }

    /// Counts a peer that did not complete the handshake in time, unless it is rejected anyway.
    pub(crate) fn time_out(self) {
        if let PendingJoin::Admitted(AdmittedPeer { slot, .. }) = &*self.join {
            let reason = format!("no WebSocket upgrade within {:?}", self.shared.config.upgrade_timeout);
            let rejection = Rejection::by(Cause::UpgradeTimeout, CloseCode::Policy, reason);
            self.shared.record_rejection(rejection, slot.client_ip(), Some(&slot.key));
        }
    }
}

impl Permit {
    /// Serves a peer whose admission was decided by [`SignalingHub::admit`], until it disconnects.
    ///
    /// # Cancel safety
    /// As for [`SignalingHub::serve`].
    pub fn serve<T: Transport>(self, transport: T) -> impl Future<Output = DisconnectReason> {
        serve(self.shared, self.count, transport, Box::new(PendingJoin::Admitted(self.peer)))
    }

    /// Returns the key of the group that the peer joins.
    pub fn key(&self) -> &GroupKey {
        &self.peer.slot.key
    }

    /// Returns the identity that the app's [`Admission`](crate::Admission) gave the peer.
    pub fn identity(&self) -> Option<&str> {
        self.peer.slot.identity()
    }

    /// Returns the client IP, if it is known.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.peer.slot.client_ip()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("slot", &self.peer.slot).finish_non_exhaustive()
    }
}

/// The state of a peer's admission when its connection starts.
enum PendingJoin {
    Requested(JoinRequest),
    Admitted(AdmittedPeer),
    Rejected(Rejection),
}

/// A connection and its count. The fields are dropped in this order: a drain waits for the count, and a connection that
/// is no longer counted must be closed.
struct CountedTransport<T> {
    transport: Pin<Box<T>>,
    count: ConnectionCount,
}

impl<T: Transport> CountedTransport<T> {
    /// Borrows the whole struct. An async block that used the field alone would capture only the field, and the count
    /// would be dropped before the first poll.
    fn transport(&mut self) -> Pin<&mut T> {
        self.transport.as_mut()
    }
}

/// Serves one peer. Transport and join are boxed: a future reserves space for its arguments and again for what it pins,
/// and the join is short.
fn serve<T: Transport>(
    shared: Arc<Shared>,
    count: ConnectionCount,
    transport: T,
    join: Box<PendingJoin>,
) -> impl Future<Output = DisconnectReason> + use<T> {
    let mut connection = CountedTransport { transport: Box::pin(transport), count };
    async move {
        let guard = match join.resolve(&shared, &connection.count).await {
            Ok(peer) => PeerGuard::new(&shared, peer),
            Err(rejection) => Err(rejection),
        };
        let transport = connection.transport();
        // Boxed: a rejection is large and rare.
        let reason = match guard.map_err(Box::new) {
            Ok(guard) => Connection::run(guard, transport, &shared).await,
            Err(rejection) => return Box::pin(close(rejection, transport, &shared)).await,
        };
        // Without the reason, which was logged when the peer left its group.
        tracing::debug!(hub = shared.name(), "connection closed");
        reason
    }
}

/// Ends the connection of a rejected peer.
async fn close<T: Transport>(rejection: Box<Rejection>, transport: Pin<&mut T>, shared: &Shared) -> DisconnectReason {
    // Only a rejection of the app has not been recorded yet.
    let rejection = shared.record_rejection(*rejection, None, None);
    let reason = DisconnectReason::from(rejection.close);
    if !rejection.drops_connection {
        close_handshake(&reason, transport, FrameQueue::default(), &shared.config).await;
    }
    // Without the reason, which may contain a key or a token. The rejection was logged.
    tracing::debug!(hub = shared.name(), "connection of a rejected peer closed");
    reason
}

impl PendingJoin {
    /// Decides the admission, unless it was decided before.
    async fn resolve(self: Box<Self>, shared: &Shared, count: &ConnectionCount) -> Result<AdmittedPeer, Rejection> {
        match *self {
            Self::Admitted(peer) => Ok(peer),
            Self::Rejected(rejection) => Err(rejection),
            // Boxed: otherwise it would enlarge every peer's future.
            Self::Requested(request) if shared.access_rules.admission.is_some() => {
                Box::pin(shared.admit(request, count)).await
            }
            Self::Requested(request) => shared.check(request, count).map(|(slot, _)| slot.into()),
        }
    }
}

impl Shared {
    /// Determines the client IP of a request, and counts its connection from now on.
    fn open(&self, request: JoinRequest) -> (JoinRequest, ConnectionCount) {
        #[cfg(feature = "hyper")]
        let request = {
            let proxies = &self.access_rules.proxies;
            self.setup_warnings.check(&request, proxies, self.name());
            request.behind(proxies)
        };
        let count = self.count_connection(request.client_ip());
        (request, count)
    }

    /// Counts a connection from now on, for the limits of connections and so that a drain waits for it.
    pub(super) fn count_connection(&self, client_ip: Option<IpAddr>) -> ConnectionCount {
        let ip = client_ip.map(|ip| self.ip_limiter.connect(ip));
        ConnectionCount::new(CountGuard::new(&self.counters.connections), ip)
    }

    /// Runs every check, and then the app's hook. Records a rejection.
    pub(super) async fn admit(
        &self,
        request: JoinRequest,
        connection: &ConnectionCount,
    ) -> Result<AdmittedPeer, Rejection> {
        let (mut slot, request) = self.check(request, connection)?;
        let Some(admission) = &self.access_rules.admission else { return Ok(slot.into()) };
        // The app may close the identity while the hook runs.
        let close_count = self.identities.close_count();
        let info = hook::call(&**admission, request, self.config.admission_timeout).instrument(self.span()).await;
        // A drain may have started while the hook ran.
        let info = info.and_then(|info| if self.is_draining() { Err(Rejection::draining()) } else { Ok(info) });
        let granted = info.and_then(|info| Ok((Grant::new(self, &info, close_count)?, info)));
        let recorded = |rejection| self.record_rejection(rejection, slot.client_ip(), Some(&slot.key));
        let (grant, info) = granted.map_err(recorded)?;
        slot.set_info(info);
        Ok(AdmittedPeer { slot, grant })
    }

    /// Runs every check except the app's hook. Records a rejection.
    pub(super) fn check(
        &self,
        request: JoinRequest,
        connection: &ConnectionCount,
    ) -> Result<(PeerSlot, JoinRequest), Rejection> {
        let recorded = |rejection| self.record_rejection(rejection, request.client_ip(), request.try_key().ok());
        let slot = self.grant_slot(&request, connection).map_err(recorded)?;
        Ok((slot, request))
    }

    fn grant_slot(&self, request: &JoinRequest, connection: &ConnectionCount) -> Result<PeerSlot, Rejection> {
        connection.check(&self.config)?;
        if self.is_draining() {
            return Err(Rejection::draining());
        }
        self.access_rules.check_origin(request)?;
        let now = self.clock();
        let ip_slot = connection.join(&self.config, now)?;
        let count = self.count_peer()?;
        let key = request.try_key()?.clone();
        Ok(PeerSlot::new(key, request, now, count, ip_slot))
    }

    fn count_peer(&self) -> Result<CountGuard, Rejection> {
        let max = self.config.max_peers;
        CountGuard::try_new(&self.counters.admitted, max).ok_or_else(|| {
            let reason = format!("peer limit reached ({max})");
            Rejection::by(Cause::MaxPeers, CloseCode::TryAgainLater, reason)
        })
    }
}
