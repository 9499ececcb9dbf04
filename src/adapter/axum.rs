//! Signaling in an [axum](::axum) app.
//!
//! One line mounts it at any path:
//!
//! ```
//! use axum::{Router, routing::get};
//! use sigver::SignalingHub;
//!
//! let hub = SignalingHub::new();
//! let app: Router = Router::new()
//!     .route("/hello", get("hello"))
//!     .route("/signal", sigver::axum::handler(hub.clone())) // ws://HOST/signal?key=KEY
//!     .nest_service("/netflux", sigver::axum::router(hub)); // ws://HOST/netflux/KEY and ws://HOST/netflux?key=KEY
//! ```
//!
//! WebSockets over HTTP/2 (RFC 8441) work with the feature `http2` of this crate and of axum.
//!
//! For more say, upgrade the socket yourself:
//!
//! ```
//! use axum::extract::{Path, WebSocketUpgrade};
//! use axum::response::Response;
//! use sigver::SignalingHub;
//!
//! async fn signal(upgrade: WebSocketUpgrade, Path(room): Path<u64>, hub: SignalingHub) -> Response {
//!     sigver::axum::configure(upgrade, &hub).on_upgrade(async move |socket| {
//!         let ending = hub.serve(sigver::axum::transport(socket), format!("room {room}").as_str()).await;
//!         println!("a peer of room {room} {ending}");
//!     })
//! }
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

/// A handler for `Router::route`.
///
/// The key is what the route's `{*key}` or `{key}` matches, and else in the query: `/signal/KEY` for a handler at
/// `/signal/{*key}`, `/signal?key=KEY` for one at `/signal`. A request that is no WebSocket handshake gets 426.
///
/// A peer's address is known when the app is served by
/// `app.into_make_service_with_connect_info::<std::net::SocketAddr>()`. Without that no peer counts for an address.
pub fn handler<S: Clone + Send + Sync + 'static>(hub: SignalingHub) -> MethodRouter<S> {
    any(move |request: Request| {
        let mut join = JoinRequest::from_url(key_in_path(&request), request.uri().query());
        if let Some(ConnectInfo(client)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            join = join.with_client_ip(client.ip());
        }
        // The body of a handshake is empty.
        let answer = upgrade(request.map(|_| ()), hub.clone(), join);
        async { answer.await.map(Body::from) }
    })
}

/// A router for `Router::nest_service`, with the key after the path where it is nested, `/signal/KEY`, or else in the
/// query, `/signal?key=KEY`.
///
/// `Router::nest` does too, but hands it everything below its path but `/signal/` itself: an empty key is a 404 of the
/// app there, where `nest_service` lets it be closed with 4741, as behind the other adapters.
pub fn router<S: Clone + Send + Sync + 'static>(hub: SignalingHub) -> Router<S> {
    Router::new().route("/", handler(hub.clone())).route("/{*key}", handler(hub))
}

/// What the route's parameter `key` matches, still percent-encoded: axum's own extractors have decoded it already.
fn key_in_path(request: &Request) -> &str {
    let extensions = request.extensions();
    let rest = request.uri().path();
    // The whole path, of which those who nest this have taken their part. Another one was the URI before a rewrite.
    let whole = extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.path());
    let path = whole.filter(|whole| whole.ends_with(rest)).unwrap_or(rest);
    let pattern = extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let (segment, wild) = match pattern.find("{*key}") {
        Some(at) => (at, true),
        None => match pattern.find("{key}") {
            Some(at) => (at, false),
            None => return "",
        },
    };
    // Every other part of a pattern matches as many slashes as it has itself.
    let slashes = pattern[..segment].matches('/').count();
    let Some((slash, _)) = path.match_indices('/').nth(slashes.saturating_sub(1)) else { return "" };
    let tail = &path[slash + 1..];
    if wild { tail } else { tail.split('/').next().unwrap_or_default() }
}

/// Sets the buffers and config of a WebSocket that the app upgrades itself to those of the hub. axum's own let a peer
/// send 64 MiB, and cost 140 KB for each idle one.
pub fn configure<F>(upgrade: WebSocketUpgrade<F>, hub: &SignalingHub) -> WebSocketUpgrade<F> {
    let config = hub.config().websocket_config();
    upgrade
        .read_buffer_size(config.read_buffer_size)
        .write_buffer_size(config.write_buffer_size)
        .max_write_buffer_size(config.max_write_buffer_size)
        .max_message_size(hub.config().max_message_bytes)
        .max_frame_size(hub.config().max_message_bytes)
}

/// A WebSocket that the app upgraded itself, best after [`configure`], for [`SignalingHub::serve`].
///
/// axum gives nobody the bytes that follow a broken frame, so nobody swallows them. A peer that goes on and on sending
/// after such a frame may see its connection reset before it has read the close code.
pub fn transport(socket: WebSocket) -> impl Transport<Err = TransportError> + Unpin {
    socket
        .map(|message| message.map(into_frame).map_err(into_transport_error))
        .sink_map_err(into_transport_error)
        .with(|frame: Frame| std::future::ready(Ok(from_frame(frame))))
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
