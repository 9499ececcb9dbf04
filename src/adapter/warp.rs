//! Signaling in a [warp](::warp) app.
//!
//! [`filter`] returns a filter that composes with others:
//!
//! ```
//! use sigver::SignalingHub;
//! use warp::Filter as _;
//!
//! let hub = SignalingHub::new();
//! let hello = warp::path("hello").map(|| "hello");
//! // ws://HOST/signal/KEY, and ws://HOST/signal?key=KEY
//! let signal = warp::path("signal").and(sigver::warp::filter(hub));
//! let app = hello.or(signal);
//! ```
//!
//! # Your own key
//!
//! [`handshake`] extracts the request. [`Handshake::with_key`] replaces the key, for example by one that contains the
//! tenant, so that `/t/acme/KEY` and `/t/globex/KEY` are two groups. The checks of the hub apply as with [`filter`]:
//! admission, allowed origins, and the limits per IP.
//!
//! ```
//! use sigver::SignalingHub;
//! use sigver::warp::{Handshake, PathParam, handshake};
//! use warp::Filter as _;
//!
//! let [documents, tenants] = [SignalingHub::new(), SignalingHub::new()];
//! let document = warp::path!("documents" / u64 / "signal").and(handshake()).then(
//!     move |document: u64, handshake: Handshake| {
//!         handshake.with_key(format!("document {document}")).upgrade(documents.clone())
//!     },
//! );
//! let tenant = warp::path!("t" / PathParam / ..).and(handshake()).then(
//!     move |tenant: PathParam, handshake: Handshake| {
//!         let key = handshake.key().and_then(|key| key.within(tenant));
//!         handshake.with_key(key).upgrade(tenants.clone())
//!     },
//! );
//! let app = document.or(tenant);
//! ```
//!
//! The client IP is the address of the socket, with `warp::serve` or behind a
//! [`ConnectionLimiter`](crate::hyper::ConnectionLimiter). Behind a reverse proxy, set
//! [`HubBuilder::trusted_proxies`](crate::HubBuilder::trusted_proxies).
//!
//! # Admin pages
//!
//! With the feature `admin`, `sigver::warp::admin` returns a filter with health checks, the status as JSON, and a page
//! with the live status, for an app that authenticates its operators.
//!
//! # HTTP/2
//!
//! WebSockets over HTTP/2 (RFC 8441) require the feature `http2` of this crate, and a server that announces them.
//! `warp::serve` does not. Serve the filter with a builder of hyper instead, as a service:
//!
//! ```
//! use hyper_util::rt::TokioExecutor;
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//! use sigver::SignalingHub;
//! use warp::{Filter as _, Reply};
//!
//! let signal = warp::path("signal").and(sigver::warp::filter(SignalingHub::new()));
//! let signal = signal.map(Reply::into_response).boxed();
//! let mut http = auto::Builder::new(TokioExecutor::new());
//! http.http2().enable_connect_protocol();
//! let service = TowerToHyperService::new(warp::service(signal));
//! // Then for each connection: `http.serve_connection_with_upgrades(io, service.clone())`
//! ```
//!
//! A `ConnectionLimiter` passes the client IP to the hub: see [`hyper::limiter`](crate::hyper::limiter).
//!
//! # Your own upgrade
//!
//! If the app does more with the connection than signaling, it can use `warp::ws` itself. Pass the socket to
//! [`SignalingHub::serve`], and the headers and the client IP in the [`JoinRequest`]. If `allowed_origins` is set,
//! always pass the headers: the hub rejects a peer without an origin, or, with `allow_missing_origin`, admits pages
//! of every site. Without the client IP, the limits per IP do not apply. `warp::serve` passes it by
//! `warp::addr::remote`, and a [`ConnectionLimiter`](crate::hyper::ConnectionLimiter) by its [`ConnectionHandle`].
//! `warp::ws` supports HTTP/1.1 only. It cannot set the read buffer, so each idle peer uses about 140 KB.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use sigver::hyper::limiter::ConnectionHandle;
//! use sigver::{JoinRequest, SignalingHub};
//! use warp::Filter as _;
//! use warp::http::{HeaderMap, Request};
//! use warp::ws::Ws;
//!
//! let hub = SignalingHub::new();
//! let remote = warp::addr::remote().and(warp::ext::optional());
//! let client_ip = remote.map(|client: Option<SocketAddr>, connection: Option<ConnectionHandle>| {
//!     client.map(|client| client.ip()).or(connection.map(|connection| connection.client_ip()))
//! });
//! let document = warp::path!("documents" / u64 / "signal");
//! let head = warp::header::headers_cloned().and(client_ip);
//! let signal = document.and(head).and(warp::ws()).map(
//!     move |document: u64, headers: HeaderMap, client_ip, upgrade: Ws| {
//!         let (mut parts, ()) = Request::new(()).into_parts();
//!         parts.headers = headers;
//!         let mut request = JoinRequest::new(format!("document {document}")).with_parts(parts);
//!         if let Some(client_ip) = client_ip {
//!             request = request.with_client_ip(client_ip);
//!         }
//!         let hub = hub.clone();
//!         sigver::warp::configure(upgrade, &hub).on_upgrade(async move |socket| {
//!             let reason = hub.serve(sigver::warp::transport(socket), request).await;
//!             println!("peer of document {document} disconnected: {reason}");
//!         })
//!     },
//! );
//! ```

#[cfg(feature = "admin")]
mod admin;
mod path_param;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;

use ::warp::filters::path::{FullPath, Tail};
use ::warp::ws::{Message, WebSocket, Ws};
use ::warp::{Filter, Reply};
use futures::{SinkExt as _, StreamExt as _};
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Version};
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::hyper::limiter::ConnectionHandle;
use super::upgrade::upgrade;
use super::websocket::into_transport_error;
use crate::protocol::{GroupKey, KeyError};
use crate::transport::{CloseFrame, Frame, Transport, TransportError};
use crate::{JoinRequest, SignalingHub};

#[cfg(feature = "admin")]
pub use admin::admin;
pub use path_param::PathParam;

/// Returns a filter that answers every request that reaches it. Put it after a path filter.
///
/// The key is the part of the path that the previous filters have not matched, `/signal/KEY`. If that is empty, it is
/// in the query: `/signal?key=KEY`. A request that is not a WebSocket handshake gets 426, or the ICE servers
/// of the hub: see `HubBuilder::ice_servers`.
pub fn filter(hub: SignalingHub) -> impl Filter<Extract = (impl Reply + use<>,), Error = Infallible> + Clone {
    handshake().then(move |handshake: Handshake| handshake.upgrade(hub.clone()))
}

/// Returns a filter that extracts a [`Handshake`]. The app can add values from other filters to it, for its
/// [`Admission`](crate::Admission) hook.
///
/// ```
/// use sigver::warp::Handshake;
/// use sigver::{CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub};
/// use warp::Filter as _;
///
/// #[derive(Clone)]
/// struct User(Option<String>);
///
/// let hub = SignalingHub::builder()
///     .admission(|request: JoinRequest| async move {
///         match request.extension::<User>() {
///             Some(User(Some(name))) => Ok(PeerInfo::new().identity(&**name)),
///             // A browser can read a close code, but not an HTTP status.
///             _ => Err(Rejection::close(CloseCode::app(4001), "log in first")),
///         }
///     })
///     .build()?;
/// let user = warp::header::optional("x-user").map(User); // set by a proxy that authenticates users
/// let signal = warp::path("signal").and(user).and(sigver::warp::handshake()).then(
///     move |user: User, handshake: Handshake| handshake.with_extension(user).upgrade(hub.clone()),
/// );
/// # Ok::<(), sigver::ConfigError>(())
/// ```
pub fn handshake() -> impl Filter<Extract = (Handshake,), Error = Infallible> + Clone {
    let query = ::warp::query::raw().or(::warp::any().map(String::new)).unify();
    let path = ::warp::path::full().and(::warp::path::tail()).and(query);
    let parts = ::warp::method().and(::warp::header::headers_cloned()).and(::warp::ext::optional());
    let handshake = path.and(parts).and(::warp::addr::remote()).map(Handshake::new);
    #[cfg(feature = "http2")]
    let handshake = handshake.and(::warp::ext::optional()).map(Handshake::with_protocol);
    handshake.and(::warp::ext::optional::<ConnectionHandle>()).map(
        |handshake: Handshake, connection: Option<ConnectionHandle>| match connection {
            Some(connection) => handshake.with_extension(connection),
            None => handshake,
        },
    )
}

/// The request for a WebSocket, or any other request that reaches the filter. Extracted by [`handshake`].
pub struct Handshake {
    request: Request<()>,
    join: JoinRequest,
}

impl Handshake {
    fn new(
        path: FullPath,
        tail: Tail,
        query: String,
        method: Method,
        headers: HeaderMap,
        on_upgrade: Option<OnUpgrade>,
        client: Option<SocketAddr>,
    ) -> Self {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        // Only the admission hook reads the URI. It cannot be invalid, because warp has already parsed it.
        *request.uri_mut() = format!("{}?{query}", path.as_str()).trim_end_matches('?').parse().unwrap_or_default();
        match on_upgrade {
            Some(on_upgrade) => _ = request.extensions_mut().insert(on_upgrade),
            // warp does not pass the version. hyper offers an upgrade for each handshake over HTTP/1.1.
            None => *request.version_mut() = Version::HTTP_10,
        }
        let join = JoinRequest::from_url(tail.as_str(), Some(&query));
        Self { request, join: client.into_iter().fold(join, |join, client| join.with_client_ip(client.ip())) }
    }

    /// Adds the protocol of an extended CONNECT, which exists only over HTTP/2.
    #[cfg(feature = "http2")]
    fn with_protocol(mut self, protocol: Option<hyper::ext::Protocol>) -> Self {
        let Some(protocol) = protocol else { return self };
        *self.request.version_mut() = Version::HTTP_2;
        self.with_extension(protocol)
    }

    /// Adds a value to the extensions of the request's [`parts`](JoinRequest::parts).
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.request.extensions_mut().insert(value);
        self
    }

    /// Returns the key in the URL: the part of the path that the previous filters have not matched, or otherwise the
    /// parameter `key` of the query.
    ///
    /// # Errors
    /// The key is missing or invalid.
    pub fn key(&self) -> Result<GroupKey, KeyError> {
        self.join.try_key().cloned().map_err(|error| *error)
    }

    /// Replaces the key in the URL by one that the app chooses: text, a [`GroupKey`], or the result of
    /// [`GroupKey::within`]. An invalid key closes the peer with 4741 or 4745. `?favored` in the URL still applies, and
    /// of a [`JoinRequest`], only the key is used.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<JoinRequest>) -> Self {
        self.join = self.join.with_key_of(key.into());
        self
    }

    /// Answers the handshake. If the hub admits the peer, a new task serves its WebSocket. Any other request gets 426, or
    /// the ICE servers of the hub, with the key and the extensions that were set here.
    ///
    /// # Panics
    /// If polled outside of a tokio runtime.
    pub fn upgrade(self, hub: SignalingHub) -> impl Future<Output = impl Reply + use<>> + Send + use<> {
        upgrade(self.request, hub, self.join)
    }
}

/// Omits the request, which contains keys, tokens and cookies.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("join", &self.join).finish_non_exhaustive()
    }
}

/// Applies the hub's limits to an upgrade that the app performs.
///
/// warp's defaults allow messages of 64 MiB. `warp::ws` cannot set the other buffer sizes.
pub fn configure(upgrade: Ws, hub: &SignalingHub) -> Ws {
    let write_buffer_size = WebSocketConfig::default().write_buffer_size;
    upgrade
        .max_write_buffer_size(hub.config().max_write_buffer_size(write_buffer_size))
        .max_message_size(hub.config().max_message_bytes)
        .max_frame_size(hub.config().max_message_bytes)
}

/// Returns a transport for [`SignalingHub::serve`] over a WebSocket that the app upgraded itself. Call [`configure`]
/// before the upgrade.
///
/// warp assembles fragmented messages before the hub sees them, so `messages_per_second` counts whole messages and not
/// their fragments. A peer can send fragments as fast as its connection allows, which costs CPU time. On the public
/// internet, prefer [`filter`] or [`handshake`], which count both. If the key comes from the app, use
/// [`Handshake::with_key`].
///
/// warp gives no access to the bytes after a malformed frame. A peer that keeps sending after such a frame may see a
/// connection reset before it reads the close code.
pub fn transport(socket: WebSocket) -> impl Transport<Err = TransportError> + Unpin {
    socket
        .map(|message| message.map(into_frame).map_err(into_transport_error))
        .sink_map_err(into_transport_error)
        .with(|frame: Frame| std::future::ready(Ok(from_frame(frame))))
}

fn into_frame(message: Message) -> Frame {
    if message.is_binary() {
        Frame::Binary(message.into_bytes())
    } else if message.is_text() {
        Frame::Text(message.to_str().unwrap_or_default().to_owned())
    } else if message.is_ping() {
        Frame::Ping(message.into_bytes())
    } else if message.is_pong() {
        Frame::Pong(message.into_bytes())
    } else {
        Frame::Close(message.close_frame().map(|(code, reason)| CloseFrame::new(code, reason)))
    }
}

fn from_frame(frame: Frame) -> Message {
    match frame {
        Frame::Binary(bytes) => Message::binary(bytes),
        Frame::Text(text) => Message::text(text),
        Frame::Ping(bytes) => Message::ping(bytes),
        Frame::Pong(bytes) => Message::pong(bytes),
        Frame::Close(None) => Message::close(),
        Frame::Close(Some(CloseFrame { code, reason })) => Message::close_with(code, reason),
    }
}
