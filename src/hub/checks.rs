//! The checks of a join, in their order.

use std::net::IpAddr;

#[cfg(feature = "hyper")]
use http::HeaderMap;
use tracing::Instrument as _;

use super::admission::hook::{self, Admission, PeerInfo};
use super::admission::permit::{ConnectionCount, PeerSlot};
use super::admission::rejection::Rejection;
use super::admission::request::JoinRequest;
use super::connection::grant::{AdmittedPeer, Grant};
use super::limits::Cause;
use super::limits::count::CountGuard;
use super::shared::Shared;
#[cfg(feature = "hyper")]
use super::shared::SignalingHub;
use crate::protocol::CloseCode;

#[cfg(feature = "hyper")]
impl SignalingHub {
    /// Returns the client IP of a request to a route of the app, for limits of the app such as failed logins per IP. The
    /// hub determines the client IP of a join in the same way: see
    /// [`HubBuilder::trusted_proxies`](crate::HubBuilder::trusted_proxies).
    ///
    /// `socket` is the address of the other end of the connection.
    ///
    /// ```
    /// use std::net::IpAddr;
    ///
    /// use hyper::HeaderMap;
    /// use sigver::{ClientIpHeader, SignalingHub};
    ///
    /// let hub = SignalingHub::builder()
    ///     .trusted_proxies(ClientIpHeader::XForwardedFor, ["10.0.0.0/8"])
    ///     .build()?;
    /// let headers = HeaderMap::from_iter([("x-forwarded-for".parse()?, "192.0.2.7".parse()?)]);
    /// let [proxy, other] = [[10, 0, 0, 1], [198, 51, 100, 1]].map(IpAddr::from);
    /// assert_eq!(hub.client_ip(proxy, &headers), IpAddr::from([192, 0, 2, 7]));
    /// assert_eq!(hub.client_ip(other, &headers), other, "no trusted proxy");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client_ip(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.shared.access_rules.proxies.client_ip(socket, headers)
    }
}

impl Shared {
    /// Determines the client IP of a request, and counts its connection from now on.
    pub(super) fn open(&self, request: JoinRequest) -> (JoinRequest, ConnectionCount) {
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
        let info = self.call_hook(&**admission, request).await;
        let granted = info.and_then(|info| {
            let expires_at = info.expires_at;
            // First, so that a rejection reports what the hook has answered.
            slot.set_info(info);
            self.check_draining()?;
            Grant::new(self, slot.shared_identity().as_ref(), expires_at, close_count)
        });
        match granted {
            Ok(grant) => Ok(AdmittedPeer { grant, slot }),
            Err(rejection) => Err(self.record_rejection(rejection, &slot)),
        }
    }

    /// Runs the app's hook, whose log lines have the name of the hub. A drain may start meanwhile.
    pub(super) async fn call_hook(
        &self,
        admission: &dyn Admission,
        request: JoinRequest,
    ) -> Result<PeerInfo, Rejection> {
        hook::call(admission, request, self.config.admission_timeout).instrument(self.span()).await
    }

    /// Runs every check except the app's hook. Records a rejection.
    pub(super) fn check(
        &self,
        request: JoinRequest,
        connection: &ConnectionCount,
    ) -> Result<(PeerSlot, JoinRequest), Rejection> {
        let slot = self.grant_slot(&request, connection);
        let slot = slot.map_err(|rejection| self.record_rejection(rejection, &request))?;
        Ok((slot, request))
    }

    fn grant_slot(&self, request: &JoinRequest, connection: &ConnectionCount) -> Result<PeerSlot, Rejection> {
        self.check_access(request, connection)?;
        let now = self.clock();
        let ip_slot = connection.join(&self.config, now)?;
        let count = self.count_peer()?;
        let key = request.try_key()?.clone();
        Ok(PeerSlot::new(key, request, now, count, ip_slot))
    }

    /// Runs the checks that come before any limit of joins and peers.
    pub(super) fn check_access(&self, request: &JoinRequest, connection: &ConnectionCount) -> Result<(), Rejection> {
        connection.check(&self.config)?;
        self.check_draining()?;
        self.access_rules.check_origin(request)
    }

    pub(super) fn check_draining(&self) -> Result<(), Rejection> {
        if self.is_draining() { Err(Rejection::draining()) } else { Ok(()) }
    }

    fn count_peer(&self) -> Result<CountGuard, Rejection> {
        let max = self.config.max_peers;
        CountGuard::try_new(&self.counters.admitted, max).ok_or_else(|| {
            let reason = format!("peer limit reached ({max})");
            Rejection::by(Cause::MaxPeers, CloseCode::TryAgainLater, reason)
        })
    }
}
