//! The service of the public listener: signaling, and health checks for requests that are not WebSocket handshakes.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use sigver::SignalingHub;
use sigver::hyper::Service;

use super::health;

#[derive(Clone)]
pub(super) struct PublicService {
    hub: SignalingHub,
    signaling: Service,
    has_client_ips: bool,
}

impl PublicService {
    /// Creates the service. Without client IPs, it ignores the addresses of connections.
    pub(super) fn new(hub: SignalingHub, has_client_ips: bool) -> Self {
        Self { signaling: sigver::hyper::service(hub.clone()), hub, has_client_ips }
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
        if health::is_plain_get(&request)
            && let Some(response) = health::respond(request.uri().path(), &self.hub)
        {
            return Box::pin(ready(Ok(response)));
        }
        self.signaling.call(request)
    }
}
