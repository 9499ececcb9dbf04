//! Signaling as a service, for hyper and for frameworks that accept services of tower.

use std::convert::Infallible;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper::body::Bytes;
use ::hyper::{Request, Response, StatusCode};
use http_body_util::Full;

use super::mount::Mount;
#[cfg(feature = "axum")]
use crate::adapter::axum::connect_info;
use crate::adapter::upgrade::upgrade;
use crate::{JoinRequest, SignalingHub};

/// A service that serves signaling only. Created by [`service`](super::service).
///
/// It implements the `Service` trait of hyper and that of `tower-service`, for a body of any type, which it drops. As a
/// service of tower it is always ready, so it needs no `poll_ready` before each call. The request must have hyper's
/// `OnUpgrade` among its extensions, which hyper's servers insert: a layer that replaces the request without its
/// extensions makes every handshake fail with 500.
#[derive(Clone, Debug)]
pub struct Service {
    hub: SignalingHub,
    mount: Mount,
    client: Option<SocketAddr>,
}

impl Service {
    pub(super) fn new(hub: SignalingHub) -> Self {
        Self { hub, mount: Mount::default(), client: None }
    }

    /// Mounts the service at a path such as `/signal`. Default: the root. Requests for other paths get 404.
    ///
    /// Do not set it if the framework removes the path of the mount from the URI, as axum's `nest_service` does.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.mount = Mount::new(path);
        self
    }

    /// Returns whether a path is that of the mount, or below it.
    pub fn matches(&self, path: &str) -> bool {
        self.mount.tail(path).is_some()
    }

    /// Returns the service for a connection from this client.
    ///
    /// If the app serves all connections with one service, the client address is read from the extensions of each
    /// request: axum's `ConnectInfo<SocketAddr>` (with the feature `axum`), or a [`SocketAddr`] that the app's
    /// middleware has inserted. The address of this method takes precedence. Without one, the client IP is that of the
    /// [`ConnectionLimiter`](super::ConnectionLimiter) that serves the connection. Without this, too, limits per IP do
    /// not apply.
    #[must_use]
    pub fn with_client_addr(&self, address: SocketAddr) -> Self {
        Self { client: Some(address), ..self.clone() }
    }

    fn respond<B>(&self, request: Request<B>) -> ResponseFuture {
        // The body of a handshake is empty.
        let request = request.map(|_| ());
        let uri = request.uri();
        let Some(tail) = self.mount.tail(uri.path()) else {
            let mut response = Response::new(Full::from(format!("The signaling endpoint is {}/KEY.\n", self.mount)));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Box::pin(ready(Ok(response)));
        };
        let mut join = JoinRequest::from_url(tail, uri.query());
        if let Some(ip) = self.client_ip(&request) {
            join = join.with_client_ip(ip);
        }
        let response = upgrade(request, self.hub.clone(), join);
        Box::pin(async { Ok(response.await.map(Full::from)) })
    }

    fn client_ip(&self, request: &Request<()>) -> Option<IpAddr> {
        let client = self.client;
        #[cfg(feature = "axum")]
        let client = client.or_else(|| connect_info::client_addr(request.extensions()));
        let client = client.or_else(|| request.extensions().get().copied());
        client.map(|client: SocketAddr| client.ip())
    }
}

/// The future of both traits, here and in the admin service.
pub(super) type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

impl<B> ::hyper::service::Service<Request<B>> for Service {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> Self::Future {
        self.respond(request)
    }
}

impl<B> tower_service::Service<Request<B>> for Service {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.respond(request)
    }
}
