//! From a join request to a served peer: the order of the checks, and the one way into a hub.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::admission::hook;
use super::admission::permit::PeerSlot;
use super::admission::rejection::Rejection;
use super::admission::request::JoinRequest;
use super::close::DisconnectReason;
use super::connection::Connection;
use super::connection::close_handshake::close_handshake;
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
/// It holds the peer's slot in `max_peers` and `max_peers_per_ip`. Dropping it releases the slot. `max_groups` and
/// `max_peers_per_group` are checked when the peer is served.
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
    slot: PeerSlot,
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
    /// The connection counts from this call on: a drain waits for it even if the future was never polled.
    ///
    /// # Cancel safety
    /// Cancel safe at any point: dropping the future removes the peer from its group, notifies linked peers and drops
    /// the transport without a close frame.
    pub fn serve<T: Transport, R: Into<JoinRequest>>(
        &self,
        transport: T,
        request: R,
    ) -> impl Future<Output = DisconnectReason> + use<T, R> {
        let join = Box::new(PendingJoin::Requested(request.into()));
        serve(self.shared.clone(), self.shared.count_connection(), transport, join)
    }

    /// Decides whether a peer may join, before its connection exists.
    ///
    /// [`SignalingHub::serve`] decides on its own. The adapters call this method before they accept the WebSocket
    /// handshake, so that a rejection can become an HTTP status.
    ///
    /// The checks run in this order: drain, origin, join rate and number of peers of the client IP, number of all
    /// peers, key, and the app's [`Admission`](crate::Admission). `max_groups` and `max_peers_per_group` are checked
    /// when the peer is served.
    ///
    /// # Errors
    /// The rejection, which the hub has counted. Answer the handshake with its status, or accept the handshake and pass
    /// the connection to [`SignalingHub::reject`].
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future or the returned permit releases the peer's slot.
    pub async fn admit(&self, request: impl Into<JoinRequest>) -> Result<Permit, Rejection> {
        match self.shared.admit(request.into()).await {
            Ok(slot) => Ok(Permit { slot, shared: self.shared.clone() }),
            Err(mut rejection) => {
                self.shared.record_rejection(&mut rejection);
                Err(rejection)
            }
        }
    }

    /// Closes the connection of a rejected peer with the rejection's close code and reason.
    ///
    /// The hub counts a rejection that the app created. It does not count one from [`SignalingHub::admit`] again.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport. The peer may then miss the close code.
    pub fn reject<T: Transport>(
        &self,
        transport: T,
        rejection: Rejection,
    ) -> impl Future<Output = DisconnectReason> + use<T> {
        let join = Box::new(PendingJoin::Rejected(rejection));
        serve(self.shared.clone(), self.shared.count_connection(), transport, join)
    }

    /// Counts the connection of a decided join while its handshake completes.
    #[cfg(feature = "hyper")]
    pub(crate) fn expect_connection(&self, admitted: Result<Permit, Rejection>) -> PendingConnection {
        let join = Box::new(match admitted {
            Ok(permit) => PendingJoin::Admitted(permit.slot),
            Err(rejection) => PendingJoin::Rejected(rejection),
        });
        PendingConnection { join, count: self.shared.count_connection(), shared: self.shared.clone() }
    }
}

/// A connection whose handshake has not completed, and whose admission was decided. A drain waits for it.
#[cfg(feature = "hyper")]
pub(crate) struct PendingConnection {
    join: Box<PendingJoin>,
    count: CountGuard,
    shared: Arc<Shared>,
}

#[cfg(feature = "hyper")]
impl PendingConnection {
    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Serves or rejects the peer.
    pub(crate) fn serve<T: Transport>(self, transport: T) -> impl Future<Output = DisconnectReason> {
        serve(self.shared, self.count, transport, self.join)
    }

    /// Counts a peer that did not complete the handshake in time, unless it is rejected anyway.
    pub(crate) fn time_out(self) {
        if !matches!(*self.join, PendingJoin::Rejected(_)) {
            let reason = format!("no WebSocket upgrade within {:?}", self.shared.config.upgrade_timeout);
            let mut rejection = Rejection::by(Cause::UpgradeTimeout, CloseCode::Policy, reason);
            self.shared.record_rejection(&mut rejection);
        }
    }
}

impl Permit {
    /// Serves a peer whose admission was decided by [`SignalingHub::admit`], until it disconnects.
    ///
    /// # Cancel safety
    /// As for [`SignalingHub::serve`].
    pub fn serve<T: Transport>(self, transport: T) -> impl Future<Output = DisconnectReason> {
        let count = self.shared.count_connection();
        serve(self.shared, count, transport, Box::new(PendingJoin::Admitted(self.slot)))
    }

    /// Returns the key of the group that the peer joins.
    pub fn key(&self) -> &GroupKey {
        &self.slot.key
    }

    /// Returns the identity that the app's [`Admission`](crate::Admission) gave the peer.
    pub fn identity(&self) -> Option<&str> {
        self.slot.identity()
    }

    /// Returns the client IP, if it is known.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.slot.client_ip()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// The state of a peer's admission when its connection starts.
enum PendingJoin {
    Requested(JoinRequest),
    Admitted(PeerSlot),
    Rejected(Rejection),
}

/// A connection and its count. The fields are dropped in this order: a drain waits for the count, and a connection that
/// is no longer counted must be closed.
struct CountedTransport<T> {
    transport: Pin<Box<T>>,
    _count: CountGuard,
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
    count: CountGuard,
    transport: T,
    join: Box<PendingJoin>,
) -> impl Future<Output = DisconnectReason> + use<T> {
    let mut connection = CountedTransport { transport: Box::pin(transport), _count: count };
    async move {
        let guard = match join.resolve(&shared).await {
            Ok(slot) => PeerGuard::new(&shared, slot),
            Err(rejection) => Err(rejection),
        };
        let transport = connection.transport();
        let reason = match guard {
            Ok(guard) => Connection::run(guard, transport, &shared).await,
            Err(mut rejection) => {
                shared.record_rejection(&mut rejection);
                let reason = DisconnectReason::from(rejection.close);
                Box::pin(close_handshake(&reason, transport, FrameQueue::default(), &shared.config)).await;
                reason
            }
        };
        tracing::debug!(%reason, "connection closed");
        reason
    }
}

impl PendingJoin {
    /// Decides the admission, unless it was decided before.
    async fn resolve(self: Box<Self>, shared: &Arc<Shared>) -> Result<PeerSlot, Rejection> {
        match *self {
            Self::Admitted(slot) => Ok(slot),
            Self::Rejected(rejection) => Err(rejection),
            // Boxed: otherwise it would enlarge every peer's future.
            Self::Requested(request) if shared.access_rules.admission.is_some() => {
                Box::pin(shared.admit(request)).await
            }
            Self::Requested(request) => shared.check(request).map(|(slot, _)| slot),
        }
    }
}

impl Shared {
    /// Runs every check, and then the app's hook.
    async fn admit(self: &Arc<Self>, request: JoinRequest) -> Result<PeerSlot, Rejection> {
        let (mut slot, request) = self.check(request)?;
        if let Some(admission) = &self.access_rules.admission {
            slot.set_info(hook::call(&**admission, request, self.config.admission_timeout).await?);
            // A drain may have started while the hook ran.
            if self.is_draining() {
                return Err(Rejection::draining());
            }
        }
        Ok(slot)
    }

    /// Runs every check except the app's hook.
    pub(super) fn check(self: &Arc<Self>, request: JoinRequest) -> Result<(PeerSlot, JoinRequest), Rejection> {
        if self.is_draining() {
            return Err(Rejection::draining());
        }
        self.access_rules.check_origin(request.origin())?;
        #[cfg(feature = "hyper")]
        let request = request.behind(&self.access_rules.proxies);
        let ip_slot = request.client_ip().map(|ip| self.ip_limiter.acquire(ip, &self.config)).transpose()?;
        let count = self.count_peer()?;
        let key = request.try_key()?.clone();
        let slot = PeerSlot::new(key, &request, self.clock(), count, ip_slot);
        Ok((slot, request))
    }

    /// Counts a connection from now on, so that a drain waits for it.
    fn count_connection(&self) -> CountGuard {
        CountGuard::new(&self.counters.connections)
    }

    fn count_peer(&self) -> Result<CountGuard, Rejection> {
        let max = self.config.max_peers;
        CountGuard::try_new(&self.counters.admitted, max).ok_or_else(|| {
            let reason = format!("peer limit reached ({max})");
            Rejection::by(Cause::MaxPeers, CloseCode::TryAgainLater, reason)
        })
    }
}
