//! From a join request to a served peer: the one way into a hub.

use std::pin::Pin;
use std::sync::Arc;

use super::admission::permit::ConnectionCount;
use super::admission::rejected_peer::RejectedPeer;
use super::admission::rejection::Rejection;
use super::admission::request::JoinRequest;
use super::close::DisconnectReason;
use super::connection::Connection;
use super::connection::close_handshake::close_handshake;
use super::connection::grant::AdmittedPeer;
use super::connection::peer_guard::PeerGuard;
#[cfg(feature = "hyper")]
use super::limits::{Cause, config::Config};
use super::rooms::frame_queue::FrameQueue;
use super::shared::{Shared, SignalingHub};
#[cfg(feature = "hyper")]
use crate::protocol::CloseCode;
use crate::transport::Transport;

impl SignalingHub {
    /// Serves one peer until it disconnects, and returns the reason.
    ///
    /// Every peer enters the hub through this method, or through [`SignalingHub::admit`] and
    /// [`Permit::serve`](crate::Permit::serve). The adapters call them. Call them yourself for a transport of your own,
    /// within a tokio runtime that has its timer enabled.
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
            self.shared.record_rejection(rejection, slot);
        }
    }
}

/// The state of a peer's admission when its connection starts.
pub(super) enum PendingJoin {
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
pub(super) fn serve<T: Transport>(
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
    let rejection = shared.record_rejection(*rejection, RejectedPeer::default());
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
