//! Signaling in a server on [hyper](::hyper) itself.
//!
//! [`service`] returns a service that serves signaling below a path:
//!
//! ```no_run
//! # async fn serve(socket: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
//! use hyper::server::conn::http1;
//! use hyper_util::rt::TokioIo;
//! use sigver::SignalingHub;
//!
//! let client = socket.peer_addr()?;
//! let service = sigver::hyper::service(SignalingHub::new()).at("/signal"); // ws://HOST/signal/KEY
//! let service = service.with_client_addr(client);
//! let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
//! connection.with_upgrades().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Every connection must be served `with_upgrades`. The chapter `shutdown` of the guide has a complete server, with
//! limits of connections and a graceful shutdown.
//!
//! # Slow clients
//!
//! A [`ConnectionLimiter`] limits the connections that have no WebSocket, and closes those of clients that send no
//! request. It accepts the connections of the listener, and serves any service of hyper: see [`limiter`].
//!
//! # Behind tower
//!
//! [`Service`] also implements the `Service` trait of [tower](https://docs.rs/tower-service), for requests with any
//! type of body. It works behind layers, and in frameworks that accept a service of tower:
//!
//! ```
//! use hyper::{Request, body::Incoming};
//! use sigver::SignalingHub;
//! use tower::ServiceBuilder;
//!
//! let service = ServiceBuilder::new()
//!     .map_request(|request: Request<Incoming>| request) // the app's layers
//!     .service(sigver::hyper::service(SignalingHub::new()).at("/signal"));
//! // For hyper's `serve_connection`:
//! let service = hyper_util::service::TowerToHyperService::new(service);
//! ```
//!
//! If one service serves all connections, the middleware or a [`ConnectionLimiter`] must insert the client address into
//! the extensions of each request: see [`Service::with_client_addr`].
//!
//! # In a service of your own
//!
//! [`upgrade_with`] answers one request, with a key that the app chooses. [`upgrade`] reads the key from the query. The
//! checks of the hub apply as with [`service`]: admission, allowed origins, and the limits per IP.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::{Request, Response};
//! use sigver::{JoinRequest, SignalingHub};
//!
//! async fn respond(
//!     request: Request<Incoming>,
//!     client: SocketAddr,
//!     hub: &SignalingHub,
//! ) -> Response<Full<Bytes>> {
//!     match request.uri().path() {
//!         "/lobby" => {
//!             let join = JoinRequest::new("the lobby").with_client_ip(client.ip());
//!             sigver::hyper::upgrade_with(request, hub, join).await
//!         }
//!         _ => Response::new(Full::from("hello")),
//!     }
//! }
//! ```
//!
//! # Admin pages
//!
//! With the feature `admin`, `sigver::hyper::admin` returns a service with health checks, the status as JSON, and a
//! page with the live status, for an app that authenticates its operators.
//!
//! # HTTP/2
//!
//! WebSockets over HTTP/2 (RFC 8441) require the feature `http2` of this crate, and `enable_connect_protocol()` of
//! hyper's builder. Without it, the server does not announce that it accepts them, and clients do not open any:
//!
//! ```
//! use hyper::server::conn::http2;
//! use hyper_util::rt::TokioExecutor;
//!
//! let mut builder = http2::Builder::new(TokioExecutor::new());
//! builder.enable_connect_protocol(); // then `builder.serve_connection(io, service)`
//! ```
//!
//! # Your own upgrade
//!
//! If the app does more with the connection than signaling, it can upgrade the WebSocket itself. Pass the socket to
//! [`SignalingHub::serve`], and the request head and the client IP in the [`JoinRequest`]. If `allowed_origins` is set,
//! always pass the head: the hub rejects a peer without an origin, or, with `allow_missing_origin`, admits pages of
//! every site. Without the client IP, the limits per IP do not apply. Over HTTP/2, behind a [`ConnectionLimiter`], hold
//! the guard of [`ConnectionHandle::keep_open`](limiter::ConnectionHandle::keep_open) until `serve` has ended.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::{Request, Response};
//! use hyper_tungstenite::tungstenite::error::ProtocolError;
//! use sigver::{JoinRequest, SignalingHub};
//!
//! fn signal(
//!     mut request: Request<Incoming>,
//!     client: SocketAddr,
//!     hub: SignalingHub,
//! ) -> Result<Response<Full<Bytes>>, ProtocolError> {
//!     let config = sigver::hyper::websocket_config(&hub);
//!     let (response, socket) = hyper_tungstenite::upgrade(&mut request, Some(config))?;
//!     let (parts, _body) = request.into_parts();
//!     let join = JoinRequest::new("the lobby").with_client_ip(client.ip()).with_parts(parts);
//!     tokio::spawn(async move {
//!         if let Ok(socket) = socket.await {
//!             let reason = hub.serve(sigver::hyper::transport(socket), join).await;
//!             println!("peer of the lobby disconnected: {reason}");
//!         }
//!     });
//!     Ok(response)
//! }
//! ```

#[cfg(feature = "admin")]
mod admin;
pub mod limiter;
mod mount;
mod service;

use ::hyper::body::Bytes;
use ::hyper::{Request, Response};
use http_body_util::Full;
use hyper_tungstenite::WebSocketStream;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::upgrade;
use super::websocket::WebSocket;
use crate::transport::{Transport, TransportError};
use crate::{JoinRequest, SignalingHub};

#[cfg(feature = "admin")]
pub use admin::{AdminService, admin};
/// The version of tungstenite that this crate uses, for an app that changes a [`WebSocketConfig`] of
/// [`websocket_config`] or passes a WebSocket to [`transport`].
#[doc(no_inline)]
pub use hyper_tungstenite::tungstenite;
pub use limiter::ConnectionLimiter;
pub use service::Service;

/// Answers a WebSocket handshake whose URL has the key in its query: `/any/path?key=KEY`.
///
/// If the hub admits the peer, a new task serves its WebSocket. Any other request gets an error status and a line of
/// text that explains it, for example 426 for a request that is not a handshake. With `HubBuilder::ice_servers`, a
/// `GET` with `Accept: application/json` gets the ICE servers.
///
/// The hub knows the client IP if a [`ConnectionLimiter`] serves the connection. Otherwise pass it with [`upgrade_with`],
/// or the limits per IP do not apply.
///
/// # Panics
/// If polled outside of a tokio runtime.
pub async fn upgrade<B>(request: Request<B>, hub: &SignalingHub) -> Response<Full<Bytes>> {
    let join = JoinRequest::from_url("", request.uri().query());
    upgrade_with(request, hub, join).await
}

/// Answers a WebSocket handshake as [`upgrade`] does, with a join request from the app. It contains the key, and the
/// client IP if the app knows it: `JoinRequest::new("the lobby").with_client_ip(ip)`. Values of
/// [`JoinRequest::with_extension`] are added to the extensions that the admission hook receives. `?favored` in the URL
/// does not apply; use [`JoinRequest::favored`].
///
/// # Panics
/// If polled outside of a tokio runtime.
pub fn upgrade_with<B, J: Into<JoinRequest>>(
    request: Request<B>,
    hub: &SignalingHub,
    join: J,
) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<B, J> {
    // The body of a handshake is empty.
    let response = upgrade::upgrade(request.map(|_| ()), hub.clone(), join.into());
    async { response.await.map(Full::from) }
}

/// Returns a service that serves signaling. The key is the path below the mount, `/KEY`. If that is empty, it is in the
/// query: `/?key=KEY`.
pub fn service(hub: SignalingHub) -> Service {
    Service::new(hub)
}

/// Returns the hub's buffer sizes and limits for a WebSocket that the app upgrades itself.
///
/// tungstenite's defaults allow messages of 64 MiB and use 140 KB for each idle peer.
pub fn websocket_config(hub: &SignalingHub) -> WebSocketConfig {
    hub.config().websocket_config()
}

/// Returns a transport for [`SignalingHub::serve`] over a WebSocket that the app upgraded itself, or for a client of
/// tests. Use [`websocket_config`] for the upgrade. The socket is one of hyper-tungstenite 0.20 or tokio-tungstenite 0.29.
///
/// tungstenite assembles fragmented messages before the hub sees them, so `messages_per_second` counts whole messages
/// and not their fragments. A peer can send fragments as fast as its connection allows, which costs CPU time. On the
/// public internet, use [`upgrade_with`] instead, which counts both.
///
/// # A client over HTTP/2
///
/// [`client::Connector`](crate::client) opens WebSockets over HTTP/1.1. A test of a server over HTTP/2 (RFC 8441) opens
/// them with hyper's client. The example needs hyper with `client`, `http2` and `server`:
///
/// ```
/// use http_body_util::Empty;
/// use hyper::body::Bytes;
/// use hyper::client;
/// use hyper::ext::Protocol;
/// use hyper::server::conn::http2;
/// use hyper::{Request, StatusCode};
/// use hyper_tungstenite::WebSocketStream;
/// use hyper_util::rt::{TokioExecutor, TokioIo};
/// use sigver::SignalingHub;
/// use sigver::client::Client;
/// use sigver::hyper::tungstenite::protocol::Role;
/// use sigver::protocol::MemberId;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = SignalingHub::new();
/// let (client_end, server_end) = tokio::io::duplex(4096);
/// let service = sigver::hyper::service(hub.clone()).at("/signal");
/// let mut server = http2::Builder::new(TokioExecutor::new());
/// server.enable_connect_protocol();
/// tokio::spawn(server.serve_connection(TokioIo::new(server_end), service));
///
/// let io = TokioIo::new(client_end);
/// let (mut requests, connection) = client::conn::http2::handshake(TokioExecutor::new(), io).await?;
/// tokio::spawn(connection);
/// // hyper sends an extended CONNECT only after the settings of the server have arrived, as they have
/// // with the first response.
/// let get = Request::get("http://app.example/").body(Empty::<Bytes>::new())?;
/// assert_eq!(requests.send_request(get).await?.status(), StatusCode::NOT_FOUND);
/// let connect = Request::connect("http://app.example/signal/room")
///     .header("sec-websocket-version", "13")
///     .extension(Protocol::from_static("websocket"))
///     .body(Empty::new())?;
/// let response = requests.send_request(connect).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// let upgraded = TokioIo::new(hyper::upgrade::on(response).await?);
/// let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
/// let mut peer = Client::new(sigver::hyper::transport(socket));
/// assert!(peer.connect(MemberId(1), &[]).await?);
/// assert_eq!(hub.peers("room").len(), 1);
/// # Ok(())
/// # }
/// ```
pub fn transport<S: AsyncRead + AsyncWrite + Unpin + Send>(
    socket: WebSocketStream<S>,
) -> impl Transport<Err = TransportError> + Unpin {
    WebSocket::new(socket)
}
