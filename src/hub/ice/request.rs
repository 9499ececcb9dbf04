//! From a request for ICE servers to the answer.

use std::sync::atomic::Ordering;
use std::sync::{PoisonError, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use super::configuration::IceConfiguration;
use super::servers::IceServers;
use crate::hub::admission::hook::PeerInfo;
use crate::hub::admission::permit::ConnectionCount;
use crate::hub::admission::rejected_peer::RejectedPeer;
use crate::hub::admission::rejection::Rejection;
use crate::hub::admission::request::JoinRequest;
use crate::hub::connection::grant::remaining;
use crate::hub::limits::config::ConfigError;
use crate::hub::shared::{Shared, SignalingHub};

/// ICE servers, behind the feature `turn`.
impl SignalingHub {
    /// Returns the ICE servers for a client, with a credential for each TURN server. The list is empty if
    /// [`HubBuilder::ice_servers`](crate::HubBuilder::ice_servers) is not set.
    ///
    /// The adapters call this method for a `GET` with `Accept: application/json`. Call it yourself to serve the list
    /// from another route of the app.
    ///
    /// The checks are those of [`SignalingHub::admit`], in the same order, with these differences:
    ///
    /// - The request takes no slot: it passes when `max_peers`, `max_peers_per_ip` or `max_peers_per_identity` is
    ///   reached, so that a connected peer can renew its credentials, and replaces no peer. It counts against
    ///   `joins_per_second_per_ip`, and as a connection while it is decided.
    /// - It passes the allowed origins without an `Origin`, which browsers omit in a `GET` to the page's own server. A
    ///   page of another origin cannot read the response.
    /// - In the [`Admission`](crate::Admission) hook, [`JoinRequest::is_upgrade`] returns `false`.
    ///
    /// If the hook sets [`PeerInfo::expires_at`], the credentials expire at that time or earlier.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// use sigver::{IceServers, JoinRequest, PeerInfo, SignalingHub};
    ///
    /// let servers = IceServers::new().turn(["turn:turn.example"], "a secret of at least 20 bytes");
    /// let admission = |_: JoinRequest| async { Ok(PeerInfo::new().identity("alice")) };
    /// let hub = SignalingHub::builder().ice_servers(servers).admission(admission).build()?;
    ///
    /// let configuration = hub.ice_servers("a key").await.expect("the hook admits everyone");
    /// assert_eq!(configuration.ttl().as_secs(), 3600);
    /// let username = configuration.servers()[0].username();
    /// assert!(username.is_some_and(|name| name.ends_with(":alice")));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The rejection, which the hub has counted.
    ///
    /// # Cancel safety
    /// Cancel safe: the future changes nothing but counts.
    pub async fn ice_servers(&self, request: impl Into<JoinRequest>) -> Result<IceConfiguration, Rejection> {
        let shared = &*self.shared;
        let (request, count) = shared.open(request.into().without_upgrade());
        let (client_ip, key) = (request.client_ip(), request.try_key().ok().cloned());
        let info = shared.check_ice_request(request, &count).await;
        let client = RejectedPeer { key: key.as_ref(), client_ip, slot: None, is_upgrade: false };
        let info = info.map_err(|rejection| shared.record_rejection(rejection, client))?;
        shared.counters.ice_configurations.fetch_add(1, Ordering::Relaxed);
        shared.metrics.ice_configuration_sent();
        let PeerInfo { identity, expires_at, .. } = info;
        Ok(match &*self.shared.ice_servers() {
            Some(servers) => servers.configuration(identity.as_deref(), expires_at, SystemTime::now()),
            None => IceConfiguration { ice_servers: Vec::new(), ttl: Duration::ZERO },
        })
    }

    /// Replaces the ICE servers, for example to change the secret of the TURN servers without a restart. Clients get the
    /// new ones with their next request. Credentials that they already have stay valid until they expire.
    ///
    /// ```
    /// use sigver::{IceServers, SignalingHub};
    ///
    /// let turn = |secret| IceServers::new().turn(["turn:turn.example"], secret);
    /// let hub = SignalingHub::builder().ice_servers(turn("the old secret of at least 20 bytes")).build()?;
    /// hub.set_ice_servers(turn("the new secret of at least 20 bytes"))?;
    /// assert!(hub.set_ice_servers(turn("too short")).is_err());
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`IceServers::check`]. The hub then keeps its servers.
    pub fn set_ice_servers(&self, servers: IceServers) -> Result<(), ConfigError> {
        servers.check()?;
        *self.shared.ice_servers.write().unwrap_or_else(PoisonError::into_inner) = Some(servers);
        Ok(())
    }

    /// Returns whether the hub has ICE servers for its clients.
    pub(crate) fn has_ice_servers(&self) -> bool {
        self.shared.ice_servers().is_some()
    }
}

impl Shared {
    fn ice_servers(&self) -> RwLockReadGuard<'_, Option<IceServers>> {
        self.ice_servers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs every check, and then the app's hook. The caller records a rejection.
    async fn check_ice_request(
        &self,
        request: JoinRequest,
        connection: &ConnectionCount,
    ) -> Result<PeerInfo, Rejection> {
        self.check_access(&request, connection)?;
        connection.count_join(&self.config, self.clock())?;
        request.try_key()?;
        let Some(admission) = &self.access_rules.admission else { return Ok(PeerInfo::new()) };
        let info = self.call_hook(&**admission, request).await?;
        self.check_draining()?;
        info.expires_at.map(|time| remaining(time, SystemTime::now())).transpose()?;
        Ok(info)
    }
}
