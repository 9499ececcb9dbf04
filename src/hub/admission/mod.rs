//! Access control: decides whether a peer may join, before it has a room or an outbox.
//!
//! A [`request`] passes the allowed [`origins`], the limits of its client IP ([`ip_limiter`], behind trusted proxies)
//! and the app's [`hook`]. The outcome is the slot of a [`permit`], or a [`rejection`] of a [`rejected_peer`]. The hook
//! can give the peer [`app_values`], such as its [`peer_data`].

mod app_values;
pub(super) mod hook;
#[cfg(feature = "hyper")]
mod http_header;
pub(super) mod ip_block;
pub(super) mod ip_limiter;
pub(super) mod origins;
pub(super) mod peer_data;
pub(super) mod permit;
#[cfg(feature = "hyper")]
pub(super) mod proxies;
pub(super) mod rejected_peer;
pub(super) mod rejection;
pub(super) mod request;
#[cfg(feature = "signed-keys")]
pub(super) mod signed_keys;

use std::sync::Arc;

use hook::Admission;
use origins::AllowedOrigins;
#[cfg(feature = "hyper")]
use proxies::TrustedProxies;
use rejection::Rejection;
use request::JoinRequest;

#[cfg(feature = "turn")]
use crate::hub::ice::servers::IceServers;

/// The checks that the app configures, and what a client receives that passes them.
#[derive(Clone, Debug, Default)]
pub(super) struct AccessRules {
    pub(super) admission: Option<Arc<dyn Admission>>,
    pub(super) origins: Option<AllowedOrigins>,
    #[cfg(feature = "hyper")]
    pub(super) proxies: TrustedProxies,
    #[cfg(feature = "turn")]
    pub(super) ice_servers: Option<IceServers>,
}

impl AccessRules {
    /// Checks the origin of a request against the allowed origins, if there are any.
    pub(super) fn check_origin(&self, request: &JoinRequest) -> Result<(), Rejection> {
        #[cfg(feature = "hyper")]
        if request.has_several_origins() {
            return Err(Rejection::origin("request has several Origin headers; must have at most one"));
        }
        match &self.origins {
            // A page sends no origin with a GET to its own server. A page of another origin can omit it too, but cannot
            // read the response.
            Some(_) if !request.is_upgrade() && request.origin().is_none() => Ok(()),
            Some(origins) => origins.check(request.origin()),
            None => Ok(()),
        }
    }
}
