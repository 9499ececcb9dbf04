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
//!     .nest_service("/signal", sigver::axum::router(SignalingHub::new())); // ws://HOST/signal/KEY
//! ```
//!
//! # The key
//!
//! | mount | URLs of the group `KEY` |
//! |---|---|
//! | `.nest_service("/signal", router(hub))` | `/signal/KEY`, `/signal?key=KEY` |
//! | `.route("/signal", handler(hub))` | `/signal?key=KEY` |
//! | `.route("/documents/{key}/signal", handler(hub))` | `/documents/KEY/signal` |
//! | `.route("/signal/{*key}", handler(hub))` | `/signal/KEY`, where `KEY` may contain slashes |
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
//! # Access control
//!
//! Middleware runs before the handler. The admission hook reads what the middleware stored in the request's extensions.
//! A page cannot set the `Authorization` header of a WebSocket handshake. Unless its `SameSite` attribute forbids it,
//! browsers send a cookie of the server's host with each handshake, whatever page opens the WebSocket. Therefore
//! combine cookies with [`HubBuilder::allowed_origins`](crate::HubBuilder::allowed_origins). A page can read a close
//! code, but not an HTTP status.
//!
//! ```
//! use axum::{Router, extract::Request, middleware::map_request};
//! use sigver::{CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub};
//!
//! #[derive(Clone)]
//! struct User(String);
//!
//! async fn authenticate(mut request: Request) -> Request {
//!     let fields = request.headers().get_all("cookie").iter(); // HTTP/2 may split the cookies over several fields
//!     let mut cookies = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split("; "));
//!     if cookies.any(|cookie| cookie == "session=alices-session") { // a lookup in the app's sessions
//!         request.extensions_mut().insert(User("alice".into()));
//!     }
//!     request
//! }
//!
//! async fn admit(request: JoinRequest) -> Result<PeerInfo, Rejection> {
//!     let user = request.parts().and_then(|parts| parts.extensions.get::<User>());
//!     let User(name) = user.ok_or_else(|| Rejection::close(CloseCode::app(4001), "log in first"))?;
//!     Ok(PeerInfo::new().identity(name.as_str()))
//! }
//!
//! let hub = SignalingHub::builder().allowed_origins(["https://app.example"]).admission(admit).build()?;
//! let signal = sigver::axum::router::<()>(hub).layer(map_request(authenticate));
//! let app: Router = Router::new().nest_service("/signal", signal);
//! # Ok::<(), sigver::ConfigError>(())
//! ```
//!
//! # Graceful shutdown
//!
//! axum's graceful shutdown does not wait for WebSockets, and waits for unfinished HTTP requests without a limit. Drain
//! the hub while axum still accepts connections, and bound the wait afterwards:
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
//! WebSockets over HTTP/2 (RFC 8441) require the feature `http2` of this crate and of axum.
//!
//! # Your own upgrade
//!
//! If the app extracts the [`WebSocketUpgrade`] itself, pass the socket to [`SignalingHub::serve`], and the request
//! head and the client IP in the [`JoinRequest`]. If `allowed_origins` is set, always pass the origin: the hub rejects
//! a peer without one, or, with `allow_missing_origin`, admits pages of every site. Without the client IP, the limits
//! per IP do not apply.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::Router;
//! use axum::extract::{ConnectInfo, Path, State, WebSocketUpgrade};
//! use axum::http::request::Parts;
//! use axum::response::Response;
//! use axum::routing::any;
//! use sigver::{JoinRequest, SignalingHub};
//!
//! async fn signal(
//!     State(hub): State<SignalingHub>,
//!     Path(document): Path<u64>,
//!     ConnectInfo(client): ConnectInfo<SocketAddr>,
//!     upgrade: WebSocketUpgrade,
//!     parts: Parts,
//! ) -> Response {
//!     let request = JoinRequest::new(format!("document {document}")).with_client_ip(client.ip()).with_parts(parts);
//!     sigver::axum::configure(upgrade, &hub).on_upgrade(async move |socket| {
//!         let reason = hub.serve(sigver::axum::transport(socket), request).await;
//!         println!("peer of document {document} disconnected: {reason}");
//!     })
//! }
//!
//! let hub = SignalingHub::new();
//! let app: Router = Router::new().route("/documents/{document}/signal", any(signal)).with_state(hub);
//! let service = app.into_make_service_with_connect_info::<SocketAddr>(); // or `ConnectInfo` fails with 500
//! ```

use std::net::SocketAddr;

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::ws::{CloseFrame as WsCloseFrame, Message, WebSocket, WebSocketUpgrade};
use ::axum::extract::{ConnectInfo, MatchedPath, OriginalUri, Request};
use ::axum::routing::{MethodRouter, any};
use futures::{SinkExt as _, StreamExt as _};

use super::upgrade::upgrade;
use super::websocket::into_transport_error;
use crate::transport::{CloseFrame, Frame, Transport, TransportError};
use crate::{JoinRequest, SignalingHub};

/// Returns a handler for `Router::route`.
///
/// The key is the route's parameter `{key}` or `{*key}`. A route without one takes the key from the query, as
/// `?key=KEY`. A request that is not a WebSocket handshake gets 426.
///
/// The client IP is known if the app is served with
/// `app.into_make_service_with_connect_info::<std::net::SocketAddr>()`. Otherwise limits per IP do not apply.
pub fn handler<S: Clone + Send + Sync + 'static>(hub: SignalingHub) -> MethodRouter<S> {
    any(move |request: Request| {
        let mut join = JoinRequest::from_url(key_in_path(&request), request.uri().query());
        if let Some(ConnectInfo(client)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            join = join.with_client_ip(client.ip());
        }
        // The body of a handshake is empty.
        let response = upgrade(request.map(|_| ()), hub.clone(), join);
        async { response.await.map(Body::from) }
    })
}

/// Returns a router for `Router::nest_service`. The key is the path below the mount, `/signal/KEY`. If that is empty,
/// it is in the query: `/signal?key=KEY`.
///
/// Prefer `nest_service` to `Router::nest`, which does not route `/signal/` itself to a nested router. A client without
/// a key then gets the app's 404. With `nest_service` it is closed with 4741, as with the other adapters.
pub fn router<S: Clone + Send + Sync + 'static>(hub: SignalingHub) -> Router<S> {
    Router::new().route("/", handler(hub.clone())).route("/{*key}", handler(hub))
}

/// Applies the hub's buffer sizes and limits to an upgrade that the app performs.
///
/// axum's defaults allow messages of 64 MiB and use 140 KB for each idle peer.
pub fn configure<F>(upgrade: WebSocketUpgrade<F>, hub: &SignalingHub) -> WebSocketUpgrade<F> {
    let config = hub.config().websocket_config();
    upgrade
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(config.max_write_buffer_size)
        .max_message_size(hub.config().max_message_bytes)
        .max_frame_size(hub.config().max_message_bytes)
}

/// Returns a transport for [`SignalingHub::serve`] over a WebSocket that the app upgraded itself. Call [`configure`]
/// before the upgrade.
///
/// axum assembles fragmented messages before the hub sees them, so `messages_per_second` counts whole messages and not
/// their fragments. A peer can send fragments as fast as its connection allows, which costs CPU time. On the public
/// internet, prefer [`router`] or [`handler`], which count both. If the app needs a join request of its own, use
/// [`hyper::upgrade_with`](crate::hyper::upgrade_with), which counts both as well:
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::extract::{ConnectInfo, Path, Request, State};
/// use axum::response::IntoResponse;
/// use sigver::{JoinRequest, SignalingHub};
///
/// async fn signal(
///     State(hub): State<SignalingHub>,
///     Path(document): Path<u64>,
///     ConnectInfo(client): ConnectInfo<SocketAddr>,
///     request: Request,
/// ) -> impl IntoResponse {
///     let join = JoinRequest::new(format!("document {document}")).with_client_ip(client.ip());
///     sigver::hyper::upgrade_with(request, &hub, join).await
/// }
/// # axum::Router::new().route("/{document}", axum::routing::any(signal)).with_state::<()>(SignalingHub::new());
/// ```
///
/// axum gives no access to the bytes after a malformed frame. A peer that keeps sending after such a frame may see a
/// connection reset before it reads the close code.
pub fn transport(socket: WebSocket) -> impl Transport<Err = TransportError> + Unpin {
    socket
        .map(|message| message.map(into_frame).map_err(into_transport_error))
        .sink_map_err(into_transport_error)
        .with(|frame: Frame| std::future::ready(Ok(from_frame(frame))))
}

/// Returns the path segment or tail that the route's parameter `key` matches.
///
/// It is still percent-encoded: axum's extractors decode it, and a key must be decoded exactly once.
fn key_in_path(request: &Request) -> &str {
    let extensions = request.extensions();
    let rest = request.uri().path();
    // The original path includes the prefixes that nesting has removed. If it does not end with the current path,
    // middleware has rewritten the URI, and the current path counts.
    let original = extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.path());
    let path = original.filter(|original| original.ends_with(rest)).unwrap_or(rest);
    let pattern = extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let (segment, is_wildcard) = match pattern.find("{*key}") {
        Some(at) => (at, true),
        None => match pattern.find("{key}") {
            Some(at) => (at, false),
            None => return "",
        },
    };
    // The part of the pattern before the key matches exactly as many slashes as it contains.
    let slashes = pattern[..segment].matches('/').count();
    let Some((slash, _)) = path.match_indices('/').nth(slashes.saturating_sub(1)) else { return "" };
    let tail = &path[slash + 1..];
    if is_wildcard { tail } else { tail.split('/').next().unwrap_or_default() }
}

fn into_frame(message: Message) -> Frame {
    match message {
        Message::Binary(bytes) => Frame::Binary(bytes),
        Message::Text(text) => Frame::Text(text.to_string()),
        Message::Ping(bytes) => Frame::Ping(bytes),
        Message::Pong(bytes) => Frame::Pong(bytes),
        Message::Close(frame) => Frame::Close(frame.map(|frame| CloseFrame::new(frame.code, frame.reason.as_str()))),
    }
}

fn from_frame(frame: Frame) -> Message {
    match frame {
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Text(text) => Message::Text(text.into()),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        Frame::Close(frame) => {
            Message::Close(frame.map(|CloseFrame { code, reason }| WsCloseFrame { code, reason: reason.into() }))
        }
    }
}
