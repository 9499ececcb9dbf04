//! Warnings about a setup in which the hub does not know the client IPs.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::hub::admission::proxies::TrustedProxies;
use crate::hub::admission::request::JoinRequest;

/// Warns once per hub about each mistake in the setup that makes limits per IP ineffective or too strict.
#[derive(Debug, Default)]
pub(in crate::hub) struct SetupWarnings {
    client_ip_unknown: AtomicBool,
    proxy_not_trusted: AtomicBool,
}

impl SetupWarnings {
    /// Checks the request of a peer that came through an HTTP server. `request` has the address of the socket, `hub` is
    /// the name of the hub.
    pub(in crate::hub) fn check(&self, request: &JoinRequest, proxies: &TrustedProxies, hub: Option<&str>) {
        let Some(parts) = request.parts().filter(|_| request.came_over_http()) else { return };
        match request.client_ip() {
            None if is_first(&self.client_ip_unknown) => tracing::warn!(
                parent: None,
                hub,
                "client IP unknown, so limits per IP do not apply; pass it to the hub: with \
                 `into_make_service_with_connect_info::<SocketAddr>()` (axum), `warp::serve` (warp), \
                 `with_client_addr` (hyper), a `ConnectionLimiter` or `JoinRequest::with_client_ip`",
            ),
            Some(ip) if proxies.ignores_header(ip, &parts.headers) && is_first(&self.proxy_not_trusted) => {
                tracing::warn!(
                    parent: None,
                    hub,
                    %ip,
                    "ignored a Forwarded or X-Forwarded-For header from an address outside `trusted_proxies`; if it is \
                     a proxy, all of its clients share the limits of one IP until `trusted_proxies` contains it",
                );
            }
            _ => {}
        }
    }
}

/// Returns whether this is the first call for this warning.
fn is_first(warned: &AtomicBool) -> bool {
    !warned.load(Ordering::Relaxed) && !warned.swap(true, Ordering::Relaxed)
}
