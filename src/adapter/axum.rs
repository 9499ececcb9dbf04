//! Signaling in an [axum](::axum) app.
//!
//! One line mounts a hub below any path:
//!
//! ```
//! use axum::{Router, routing::get};
//! use sigver::SignalingHub;
//!
//! let app: Router = Router::new()
//!     .route("/", get("hello"))
//!     // ws://HOST/signal/KEY
//!     .nest_service("/signal", sigver::axum::router(SignalingHub::new()));
//! ```
//!
//! # In a handler of your own
//!
//! [`upgrade_with`] joins with a key that the app chooses. The checks of the hub apply as with [`router`]: admission,
//! allowed origins, and the limits per IP.
//!
//! ```
//! use axum::extract::{Path, Request, State};
//! use axum::response::Response;
//! use axum::{Router, routing::any};
//! use sigver::SignalingHub;
//!
//! async fn signal(
//!     State(hub): State<SignalingHub>,
//!     Path(document): Path<u64>,
//!     request: Request,
//! ) -> Response {
//!     sigver::axum::upgrade_with(request, &hub, format!("document {document}")).await
//! }
//!
//! let app: Router = Router::new()
//!     .route("/documents/{document}/signal", any(signal))
//!     .with_state(SignalingHub::new());
//! ```
//!
//! # Tenants
//!
//! [`router`] uses only the key: `/t/acme/KEY` and `/t/globex/KEY` are one group. [`router_with`] composes it:
//!
//! ```
//! use axum::Router;
//! use sigver::SignalingHub;
//!
//! let signal = sigver::axum::router_with(SignalingHub::new(), |parts| {
//!     let tenant = sigver::axum::path_param(parts, "tenant")?;
//!     sigver::axum::key(parts)?.within(tenant)
//! });
//! // ws://HOST/t/TENANT/KEY
//! let app: Router = Router::new().nest_service("/t/{tenant}", signal);
//! ```
//!
//! The client chooses the tenant in its URL. An [`Admission`](crate::Admission) hook decides whether it may. All
//! tenants share the identities of the hub.
//!
//! # The key
//!
//! | mount | URLs of the group `KEY` |
//! |---|---|
//! | `.nest_service("/signal", router(hub))` | `/signal/KEY`, `/signal?key=KEY` |
//! | `.route("/signal", handler(hub))` | `/signal?key=KEY` |
//! | `.route("/documents/{key}/signal", handler(hub))` | `/documents/KEY/signal` |
//! | `.route("/signal/{*key}", handler(hub))` | `/signal/KEY`, where `KEY` may contain slashes |
//! | `.route("/any/path", any(signal))` with [`upgrade_with`] | what the app chooses |
//!
//! The parameter must be called `key`. On a route with other parameters only, and without a key in the query, peers are
//! closed with 4741 and a reason that says so.
//!
//! # The client IP
//!
//! Limits per IP apply if axum knows the socket address of the client:
//!
//! ```no_run
//! # async fn run(app: axum::Router, listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! use std::net::SocketAddr;
//!
//! axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
//! # }
//! ```
//!
//! Behind a reverse proxy, also set [`HubBuilder::trusted_proxies`](crate::HubBuilder::trusted_proxies).
//!
//! # Layers of tower
//!
//! [`hyper::Service`](crate::hyper::Service) is a service of tower, for `Router::route_service` and `fallback_service`:
//!
//! ```
//! use axum::Router;
//! use sigver::SignalingHub;
//!
//! let signal = sigver::hyper::service(SignalingHub::new()).at("/signal");
//! let app: Router = Router::new()
//!     .route_service("/signal", signal.clone()) // ws://HOST/signal?key=KEY
//!     .route_service("/signal/{*key}", signal); // ws://HOST/signal/KEY
//! ```
//!
//! # Access control
//!
//! Middleware runs before the handler. The admission hook reads what the middleware stored in the request's extensions.
//! A page cannot set the `Authorization` header of a WebSocket handshake. Unless its `SameSite` attribute forbids it,
//! browsers send a cookie of the server's host with each handshake, whatever page opens the WebSocket. Therefore
//! combine cookies with [`HubBuilder::allowed_origins`](crate::HubBuilder::allowed_origins). A layer for CORS does not
//! help: browsers do not apply CORS to WebSockets. A page can read a close code, but not an HTTP status.
//!
//! ```
//! use axum::{Router, extract::Request, middleware::map_request};
//! use sigver::{CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub};
//!
//! #[derive(Clone)]
//! struct User(String);
//!
//! async fn authenticate(mut request: Request) -> Request {
//!     let mut cookies = request.headers().get_all("cookie").iter(); // over HTTP/2, several headers
//!     if cookies.any(|cookie| cookie == "session=alices-session") {
//!         request.extensions_mut().insert(User("alice".into())); // after a lookup in the sessions
//!     }
//!     request
//! }
//!
//! async fn admit(request: JoinRequest) -> Result<PeerInfo, Rejection> {
//!     match request.extension::<User>() {
//!         Some(User(name)) => Ok(PeerInfo::new().identity(&**name)),
//!         None => Err(Rejection::close(CloseCode::app(4001), "log in first")),
//!     }
//! }
//!
//! let hub = SignalingHub::builder()
//!     .allowed_origins(["https://app.example"])
//!     .admission(admit)
//!     .build()?;
//! let signal = sigver::axum::router::<()>(hub).layer(map_request(authenticate));
//! let app: Router = Router::new().nest_service("/signal", signal);
//! # Ok::<(), sigver::ConfigError>(())
//! ```
//!
//! If users can log out, let the hook look up the session: the middleware reads it before the admission begins.
//!
//! A handler can pass what its extractors know: `JoinRequest::new(key).with_extension(user)`. A
//! [`Rejection`](crate::Rejection) is a response, so a handler can return one.
//!
//! # Graceful shutdown
//!
//! axum's graceful shutdown does not wait for WebSockets over HTTP/1.1, and waits for unfinished HTTP requests without a
//! limit. Drain the hub while axum still accepts connections, and bound the wait afterwards:
//!
//! ```no_run
//! # use std::io;
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use tokio::sync::oneshot;
//! use tokio::time::timeout;
//!
//! # async fn run(app: axum::Router, listener: tokio::net::TcpListener, hub: sigver::SignalingHub) -> io::Result<()> {
//! let (stop, stopped) = oneshot::channel::<()>();
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//! let server = axum::serve(listener, service).with_graceful_shutdown(async { _ = stopped.await });
//! let server = tokio::spawn(server.into_future());
//!
//! shutdown_signal().await?;
//! hub.drain(Duration::from_secs(10)).await; // meanwhile joins get 503
//! _ = stop.send(());
//! timeout(Duration::from_secs(5), server).await.unwrap_or(Ok(Ok(())))?
//! # }
//!
//! /// Completes on Ctrl-C, or on SIGTERM from a service manager.
//! async fn shutdown_signal() -> io::Result<()> {
//!     #[cfg(unix)]
//!     let terminate = async {
//!         use tokio::signal::unix::{SignalKind, signal};
//!         signal(SignalKind::terminate())?.recv().await;
//!         Ok(())
//!     };
//!     #[cfg(not(unix))]
//!     let terminate = std::future::pending();
//!     tokio::select! {
//!         result = tokio::signal::ctrl_c() => result,
//!         result = terminate => result,
//!     }
//! }
//! ```
//!
//! # HTTP/2
//!
//! WebSockets over HTTP/2 (RFC 8441) require the feature `http2` of this crate. `axum::serve` and axum's
//! `WebSocketUpgrade` also require the feature `http2` of axum.
//!
//! # Slow clients
//!
//! `axum::serve` never closes the connection of a client that sends no request, or half of one. A public server needs a
//! proxy that does, or its own accept loop with a [`ConnectionLimiter`](crate::hyper::limiter). The chapter `shutdown` of
//! the guide has such a loop, with a drain and a graceful shutdown.
//!
//! # Your own upgrade
//!
//! If the app does more with the connection than signaling, it can extract axum's `WebSocketUpgrade` itself. Pass the
//! socket to [`SignalingHub::serve`], with the request head and the client IP in the [`JoinRequest`]. If
//! `allowed_origins` is set, always pass the head: the hub rejects a peer without an origin, or, with
//! `allow_missing_origin`, admits pages of every site. Without the client IP, the limits per IP do not apply.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::extract::{ConnectInfo, Path, State, WebSocketUpgrade};
//! use axum::http::request::Parts;
//! use axum::response::Response;
//! use axum::{Router, routing::any};
//! use sigver::{JoinRequest, SignalingHub};
//!
//! async fn signal(
//!     State(hub): State<SignalingHub>,
//!     Path(document): Path<u64>,
//!     ConnectInfo(client): ConnectInfo<SocketAddr>,
//!     upgrade: WebSocketUpgrade,
//!     parts: Parts,
//! ) -> Response {
//!     let request = JoinRequest::new(format!("document {document}"))
//!         .with_client_ip(client.ip())
//!         .with_parts(parts);
//!     sigver::axum::configure(upgrade, &hub).on_upgrade(async move |socket| {
//!         let reason = hub.serve(sigver::axum::transport(socket), request).await;
//!         println!("peer of document {document} disconnected: {reason}");
//!     })
//! }
//!
//! let app = Router::new().route("/documents/{document}/signal", any(signal));
//! // Without the address, `ConnectInfo` fails with 500.
//! let app = app.with_state(SignalingHub::new());
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//! ```

#[cfg(feature = "admin")]
mod admin;
pub(in crate::adapter) mod connect_info;
mod rejection;
mod route;
mod socket;

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::Request;
use ::axum::http::request::Parts;
use ::axum::response::Response;
use ::axum::routing::{MethodRouter, any};

use super::upgrade::upgrade;
use crate::{JoinRequest, SignalingHub};

#[cfg(feature = "admin")]
pub use admin::admin_router;
pub use route::{key, path_param};
pub use socket::{configure, transport};

/// Returns a handler for `Router::route`.
///
/// The key is the route's parameter `{key}` or `{*key}`. A route without one takes the key from the query, as
/// `?key=KEY`. A request that is not a WebSocket handshake gets 426, or the ICE servers of the hub: see
/// `HubBuilder::ice_servers`.
///
/// The client IP is known if the app is served with `into_make_service_with_connect_info::<std::net::SocketAddr>()`, or
/// behind a [`ConnectionLimiter`](crate::hyper::ConnectionLimiter). Otherwise limits per IP do not apply.
pub fn handler<S: Clone + Send + Sync + 'static>(hub: SignalingHub) -> MethodRouter<S> {
    any(move |request: Request| {
        let join = route::join_request(request.uri(), request.extensions());
        upgrade_with(request, &hub, join)
    })
}

/// Returns a router for `Router::nest_service`. The key is the path below the mount, `/signal/KEY`. If that is empty,
/// it is in the query: `/signal?key=KEY`.
///
/// Warning: parameters of the path above the mount do not separate groups. If the router is nested at `/t/{tenant}`,
/// `/t/acme/KEY` and `/t/globex/KEY` are one group. Use [`router_with`] for tenants.
///
/// Prefer `nest_service` to `Router::nest`, which does not route `/signal/` itself to a nested router. A client without
/// a key then gets the app's 404. With `nest_service` it is closed with 4741, as with the other adapters.
pub fn router<S: Clone + Send + Sync + 'static>(hub: SignalingHub) -> Router<S> {
    router_with(hub, key)
}

/// Returns a router as [`router`] does, with a key that the app composes from the head of each request: from the
/// parameters of the path ([`path_param`]), the key of the URL ([`key`]), headers, and extensions of the middleware.
///
/// The function returns a [`GroupKey`](crate::GroupKey), text, or the result of
/// [`GroupKey::within`](crate::GroupKey::within). An invalid key closes the peer with 4741 or 4745. Of a
/// [`JoinRequest`], only the key is used: `?favored` in the URL and the client IP apply as with [`router`]. The
/// documentation of the module shows [an example](self#tenants).
pub fn router_with<S, F, K>(hub: SignalingHub, key: F) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(&Parts) -> K + Clone + Send + Sync + 'static,
    K: Into<JoinRequest>,
{
    let handler = any(move |request: Request| {
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(route::BelowMount);
        let join = JoinRequest::from_url("", parts.uri.query()).with_key_of(key(&parts).into());
        upgrade_with(Request::from_parts(parts, body), &hub, join)
    });
    Router::new().route("/", handler.clone()).route("/{*key}", handler)
}

/// Answers a WebSocket handshake with a join request from the app: a key, as text or as a
/// [`GroupKey`](crate::GroupKey), or a [`JoinRequest`]. If the hub admits the peer, a new task serves its WebSocket.
///
/// The hub checks the request as with [`router`]. The admission hook receives its head, with the extensions of the
/// middleware and those of [`JoinRequest::with_extension`]. The client IP is the address in axum's
/// `ConnectInfo<SocketAddr>`, unless the app sets one with [`JoinRequest::with_client_ip`]. `?favored` in the URL does
/// not apply; use [`JoinRequest::favored`].
///
/// ```
/// use axum::extract::{Path, Request, State};
/// use axum::response::Response;
/// use sigver::{JoinRequest, SignalingHub};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn signal(
///     State(hub): State<SignalingHub>,
///     Path(document): Path<u64>,
///     request: Request,
/// ) -> Response {
///     let user = User("alice".into()); // or an extractor of the app
///     let join = JoinRequest::new(format!("document {document}")).with_extension(user);
///     sigver::axum::upgrade_with(request, &hub, join).await
/// }
/// # axum::Router::new().route("/{document}", axum::routing::any(signal)).with_state::<()>(SignalingHub::new());
/// ```
///
/// # Panics
/// If polled outside of a tokio runtime.
pub fn upgrade_with<J: Into<JoinRequest>>(
    request: Request,
    hub: &SignalingHub,
    join: J,
) -> impl Future<Output = Response> + Send + use<J> {
    let mut join = join.into();
    if join.client_ip().is_none()
        && let Some(client) = connect_info::client_addr(request.extensions())
    {
        join = join.with_client_ip(client.ip());
    }
    // The body of a handshake is empty.
    let response = upgrade(request.map(|_| ()), hub.clone(), join);
    async { response.await.map(Body::from) }
}
