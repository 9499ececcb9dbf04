//! Limits of the connections that have no WebSocket, for a server with its own accept loop.
//!
//! The limits of a hub apply to WebSockets. A client that opens connections and sends nothing, or half of a request,
//! uses memory and file descriptors before the hub knows it. A [`ConnectionLimiter`] closes such connections, over
//! HTTP/1.1 and HTTP/2:
//!
//! ```no_run
//! # async fn run(listener: tokio::net::TcpListener, hub: sigver::SignalingHub) {
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use sigver::hyper::ConnectionLimiter;
//!
//! let signal = sigver::hyper::service(hub).at("/signal"); // or any service for hyper
//! let mut http = auto::Builder::new(TokioExecutor::new());
//! http.http2().enable_connect_protocol(); // needs the feature `http2` of sigver
//! let limiter = ConnectionLimiter::new();
//! loop {
//!     let (socket, _client, connection) = limiter.accept_from(|| listener.accept()).await;
//!     let service = connection.service(signal.clone()); // tells the hub the client IP
//!     let http = http.clone();
//!     tokio::spawn(connection.run(async move {
//!         http.serve_connection_with_upgrades(TokioIo::new(socket), service).await
//!     }));
//! }
//! # }
//! ```
//!
//! The chapter `deployment` of the guide has the example for axum and warp. A TLS handshake belongs in the future of
//! [`Connection::run`], before `serve_connection_with_upgrades`.
//!
//! # What closes a connection
//!
//! | the connection | counts against | closes |
//! |---|---|---|
//! | is *idle*: it has no request in progress, because the client is in its TLS handshake, has not sent the whole head of a request, or waits between two requests | `max_handshakes` (1000), `max_handshakes_per_ip` (64) | after `idle_timeout` (10 s), or when a new connection exceeds a limit and it is the oldest |
//! | is *busy*: a request is in progress | `max_busy_connections` (10 000), `max_busy_connections_per_ip` (1000) | when another exceeds a limit, and it has been busy for the longest time |
//! | has a WebSocket | the limits of the hub | never by the limiter |
//!
//! - At a limit, the *oldest* connection closes and the new one stays. A client that sends its request at once gets
//!   through, unless as many others as the limit connect during its TCP and TLS handshakes. With 64 per IP and handshakes
//!   of 100 ms, that takes 640 connections per second from its own IP. Raise `max_handshakes_per_ip` if many users share
//!   one IP.
//! - A request is in progress from its head to the last byte of the response, so downloads, long polls and server-sent
//!   events do not time out. A request whose body never arrives, or whose response is never read, does not time out
//!   either. Such connections only close when there are too many. To end these requests earlier, use a timeout of the
//!   app, such as `TimeoutLayer` of tower-http, in the routes that read a body.
//! - A connection that serves request after request keeps its age: it does not become younger than a new connection.
//! - Pings and other frames of HTTP/2 are not requests.
//! - An HTTP/2 connection is idle after its last WebSocket has been closed and its socket dropped, and counts as new.
//! - The limits per IP do not apply to trusted proxies. An address that embeds an IPv4 address (`::ffff:192.0.2.1`, or
//!   `64:ff9b::192.0.2.1` of NAT64) counts as that.
//!
//! The limiter has no bound for the requests on one connection: use `max_concurrent_streams` of hyper's HTTP/2 builder.
//!
//! WebSockets of sigver keep their connection open without any code of the app. A WebSocket of the app needs
//! [`ConnectionHandle::keep_open`].
//!
//! # Graceful shutdown
//!
//! [`Connection::run`] accepts any future, such as that of `GracefulShutdown::watch` of hyper-util, which takes the
//! connection itself and not an `async` block:
//!
//! ```
//! # use hyper_util::{rt::{TokioExecutor, TokioIo}, server::{conn::auto, graceful::GracefulShutdown}};
//! # use sigver::hyper::{Service, limiter::Connection};
//! # fn spawn(
//! #     http: &auto::Builder<TokioExecutor>, graceful: &GracefulShutdown,
//! #     connection: Connection, socket: tokio::net::TcpStream, signal: Service,
//! # ) {
//! let service = connection.service(signal);
//! let served = http.serve_connection_with_upgrades(TokioIo::new(socket), service);
//! tokio::spawn(connection.run(graceful.watch(served.into_owned())));
//! # }
//! ```
//!
//! Idle connections still time out during the shutdown. The chapter `shutdown` of the guide has a complete server.
//!
//! # What an operator sees
//!
//! Each limit has a log line at the level `warn`, at most once per minute, with the number of closed connections and
//! the client IP of one of them. Each close is logged at the level `debug`. [`ConnectionLimiter::handshakes`],
//! [`ConnectionLimiter::busy_connections`] and [`ConnectionLimiter::closes`] return counts, for the metrics of the app.

mod accept_error;
mod body;
mod builder;
mod close_cause;
mod connection;
mod connection_limiter;
mod counted_log;
mod handle;
mod pool;
mod service;
mod table;

pub use builder::ConnectionLimiterBuilder;
pub use close_cause::CloseCause;
pub use connection::Connection;
pub use connection_limiter::ConnectionLimiter;
pub use handle::{ConnectionHandle, KeepOpen};
pub use service::CountingService;
