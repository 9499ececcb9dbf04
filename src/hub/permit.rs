//! Permission to serve one peer, before its connection exists.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::admission::permit::ConnectionCount;
use super::admission::rejection::Rejection;
use super::admission::request::JoinRequest;
use super::close::DisconnectReason;
use super::connection::grant::AdmittedPeer;
use super::serve::{PendingJoin, serve};
use super::shared::{Shared, SignalingHub};
use crate::protocol::GroupKey;
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

    /// Returns the value that the app gave the peer with [`PeerInfo::data`](crate::PeerInfo::data). `None` if it gave
    /// none, or one of another type.
    pub fn data<T: 'static>(&self) -> Option<&T> {
        self.peer.slot.data()
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
