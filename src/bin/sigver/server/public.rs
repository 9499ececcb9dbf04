//! The service of the public listener: signaling, and health checks for requests that are not WebSocket handshakes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::{Method, Request, Response};
use sigver::SignalingHub;
use sigver::hyper::{AdminService, Service};

#[derive(Clone)]
pub(super) struct PublicService {
    signaling: Service,
    health: AdminService,
    has_client_ips: bool,
}

impl PublicService {
    /// Creates the service. Without client IPs, it ignores the addresses of connections.
    pub(super) fn new(hub: SignalingHub, has_client_ips: bool) -> Self {
        Self { signaling: sigver::hyper::service(hub.clone()), health: sigver::hyper::admin(hub), has_client_ips }
    }

    /// Returns the service for a connection from this client.
    pub(super) fn with_client_addr(&self, client: SocketAddr) -> Self {
        if !self.has_client_ips {
            return self.clone();
        }
        Self { signaling: self.signaling.with_client_addr(client), ..self.clone() }
    }
}

impl hyper::service::Service<Request<Incoming>> for PublicService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if matches!(request.uri().path(), "/healthz" | "/readyz") && is_plain_get(&request) {
            return self.health.call(request);
        }
        self.signaling.call(request)
    }
}

/// Returns whether a request is not part of a WebSocket handshake, so that its path is not the key of a group.
///
/// A handshake without its `Upgrade` header passed through a misconfigured proxy. The signaling service explains that.
fn is_plain_get<B>(request: &Request<B>) -> bool {
    let has_any = |headers: &HeaderMap| {
        [UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION].iter().any(|name| headers.contains_key(name))
    };
    matches!(*request.method(), Method::GET | Method::HEAD) && !has_any(request.headers())
}
