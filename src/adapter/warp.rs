//! Signaling in a [warp](::warp) app.
//!
//! A filter that composes with others:
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
//! For more say, upgrade the socket yourself. `warp::ws` has no way to set the read buffer, so that each idle peer then
//! costs some 140 KB:
//!
//! ```
//! use sigver::SignalingHub;
//! use warp::Filter as _;
//!
//! let hub = SignalingHub::new();
//! let signal = warp::path!("rooms" / u64).and(warp::ws()).map(move |room: u64, upgrade: warp::ws::Ws| {
//!     let hub = hub.clone();
//!     sigver::warp::configure(upgrade, &hub).on_upgrade(async move |socket| {
//!         let ending = hub.serve(sigver::warp::transport(socket), format!("room {room}").as_str()).await;
//!         println!("a peer of room {room} {ending}");
//!     })
//! });
//! ```

use std::convert::Infallible;

use ::warp::filters::path::Tail;
use ::warp::ws::{Message, WebSocket, Ws};
use ::warp::{Filter, Reply};
use futures::{SinkExt as _, StreamExt as _};
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request};
use tungstenite_029::protocol::WebSocketConfig;

use super::upgrade::upgrade;
use super::websocket::classify;
use crate::transport::{CloseFrame, Frame, Transport, TransportError};
use crate::{Opening, SignalingHub};

/// A filter that answers every request that reaches it, so put it behind a path.
///
/// The key is what of the path the filters before it have not matched, `/signal/KEY`, or else in the query,
/// `/signal?key=KEY`. A request that is no WebSocket handshake gets 426.
pub fn filter(hub: SignalingHub) -> impl Filter<Extract = (impl Reply + use<>,), Error = Infallible> + Clone {
    let query = ::warp::query::raw().or(::warp::any().map(String::new)).unify();
    let handshake = ::warp::method().and(::warp::header::headers_cloned()).and(::warp::ext::optional());
    ::warp::path::tail().and(query).and(handshake).map(
        move |tail: Tail, query: String, method: Method, headers: HeaderMap, on_upgrade: Option<OnUpgrade>| {
            let mut request = Request::new(());
            *request.method_mut() = method;
            *request.headers_mut() = headers;
            if let Some(on_upgrade) = on_upgrade {
                request.extensions_mut().insert(on_upgrade);
            }
            upgrade(request, &hub, Opening::from_url(tail.as_str(), Some(&query)))
        },
    )
}

/// Sets the limits of a WebSocket that the app upgrades itself to those of the hub; warp's own let a peer send 64 MiB.
/// `warp::ws` has no way to set the other buffers.
pub fn configure(upgrade: Ws, hub: &SignalingHub) -> Ws {
    let write_buffer_size = WebSocketConfig::default().write_buffer_size;
    upgrade
        .max_write_buffer_size(hub.limits().max_write_buffer_size(write_buffer_size))
        .max_message_size(hub.limits().max_message_bytes)
        .max_frame_size(hub.limits().max_message_bytes)
}

/// A WebSocket that the app upgraded itself, best after [`configure`], for [`SignalingHub::serve`].
///
/// warp gives nobody the bytes that follow a broken frame, so nobody swallows them. A peer that goes on and on sending
/// after such a frame may see its connection reset before it has read the close code.
pub fn transport(socket: WebSocket) -> impl Transport<Fault = TransportError> + Unpin {
    socket
        .map(|message| message.map(Frame::from).map_err(classify))
        .sink_map_err(classify)
        .with(|frame: Frame| std::future::ready(Ok(frame.into())))
}

impl From<Message> for Frame {
    fn from(message: Message) -> Self {
        if message.is_binary() {
            Self::Binary(message.into_bytes())
        } else if message.is_text() {
            Self::Text(message.to_str().unwrap_or_default().to_owned())
        } else if message.is_ping() {
            Self::Ping(message.into_bytes())
        } else if message.is_pong() {
            Self::Pong(message.into_bytes())
        } else {
            Self::Close(message.close_frame().map(|(code, reason)| CloseFrame::new(code, reason)))
        }
    }
}

impl From<Frame> for Message {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Binary(bytes) => Self::binary(bytes),
            Frame::Text(text) => Self::text(text),
            Frame::Ping(bytes) => Self::ping(bytes),
            Frame::Pong(bytes) => Self::pong(bytes),
            Frame::Close(None) => Self::close(),
            Frame::Close(Some(CloseFrame { code, reason })) => Self::close_with(code, reason),
        }
    }
}
