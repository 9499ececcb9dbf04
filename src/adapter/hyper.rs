//! Signaling in a server on [hyper](::hyper) itself.
//!
//! A [`service`] that serves signaling and nothing else, at a path:
//!
//! ```no_run
//! # async fn serve(socket: tokio::net::TcpStream) -> Result<(), hyper::Error> {
//! use hyper::server::conn::http1;
//! use hyper_util::rt::TokioIo;
//! use sigver::SignalingHub;
//!
//! let service = sigver::hyper::service(SignalingHub::new()).at("/signal"); // ws://HOST/signal/KEY
//! http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await
//! # }
//! ```
//!
//! Or [`upgrade`] as one arm of a service that is written by hand:
//!
//! ```
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::{Request, Response};
//! use sigver::SignalingHub;
//!
//! async fn answer(request: Request<Incoming>, hub: &SignalingHub) -> Response<Full<Bytes>> {
//!     match request.uri().path() {
//!         "/signal" => sigver::hyper::upgrade(request, hub).await, // ws://HOST/signal?key=KEY
//!         _ => Response::new(Full::from("hello")),
//!     }
//! }
//! ```
//!
//! For more say, upgrade the socket yourself:
//!
//! ```
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//! use hyper::{Request, Response};
//! use hyper_tungstenite::tungstenite::error::ProtocolError;
//! use sigver::SignalingHub;
//!
//! fn signal(request: Request<Incoming>, hub: SignalingHub) -> Result<Response<Full<Bytes>>, ProtocolError> {
//!     let config = sigver::hyper::websocket_config(&hub);
//!     let (response, socket) = hyper_tungstenite::upgrade(request, Some(config))?;
//!     tokio::spawn(async move {
//!         if let Ok(socket) = socket.await {
//!             let ending = hub.serve(sigver::hyper::transport(socket), "the lobby").await;
//!             println!("a peer of the lobby {ending}");
//!         }
//!     });
//!     Ok(response)
//! }
//! ```
//!
//! In each case the connection has to be served `with_upgrades`.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use ::hyper::body::Bytes;
use ::hyper::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_tungstenite::WebSocketStream;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::upgrade;
use super::websocket::WebSocket;
use crate::transport::{Transport, TransportError};
use crate::{JoinRequest, SignalingHub};

/// Answers a request for a peer's socket whose URL has the key in its query: `/any/path?key=KEY`.
///
/// A handshake of who may come in is accepted, and its socket served by a task of its own. Any other request gets a
/// status and a line that says what would be right: 426 for one that asks for no WebSocket.
///
/// # Panics
/// When polled outside of a tokio runtime.
pub async fn upgrade<B>(request: Request<B>, hub: &SignalingHub) -> Response<Full<Bytes>> {
    let join = JoinRequest::from_url("", request.uri().query());
    upgrade_with(request, hub, join).await
}

/// As [`upgrade`], for an app that finds the key by itself, or knows the peer's address:
/// `JoinRequest::from_url(..).with_client_ip(ip)`.
///
/// # Panics
/// When polled outside of a tokio runtime.
pub fn upgrade_with<B, V: Into<JoinRequest>>(
    request: Request<B>,
    hub: &SignalingHub,
    join: V,
) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<B, V> {
    // The body of a handshake is empty.
    let answer = upgrade::upgrade(request.map(|_| ()), hub.clone(), join.into());
    async { answer.await.map(Full::from) }
}

/// A service whose URLs have the key after the path where it is mounted, `/KEY`, or else in the query, `/?key=KEY`.
pub fn service(hub: SignalingHub) -> Service {
    Service { hub, mount: Arc::default(), client: None }
}

/// Serves signaling and nothing else. Made by [`service`].
#[derive(Clone, Debug)]
pub struct Service {
    hub: SignalingHub,
    /// Without a slash at its end; empty for the root.
    mount: Arc<str>,
    client: Option<SocketAddr>,
}

impl Service {
    /// Mounts it at a path, such as `/signal`. A request for another path gets 404.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.mount = match path.trim_matches('/') {
            "" => Arc::default(),
            path => format!("/{path}").into(),
        };
        self
    }

    /// The service for one connection, whose other end is at this address. Without it no peer counts for an address.
    #[must_use]
    pub fn with_client_addr(&self, address: SocketAddr) -> Self {
        Self { client: Some(address), ..self.clone() }
    }
}

impl<B> ::hyper::service::Service<Request<B>> for Service {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let uri = request.uri();
        let tail = uri.path().strip_prefix(&*self.mount).and_then(|rest| match rest {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        });
        let Some(tail) = tail else {
            let mut response = Response::new(Full::from(format!("Signaling is at {}/KEY.\n", self.mount)));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Box::pin(ready(Ok(response)));
        };
        let mut join = JoinRequest::from_url(tail, uri.query());
        if let Some(client) = self.client {
            join = join.with_client_ip(client.ip());
        }
        let answer = upgrade::upgrade(request.map(|_| ()), self.hub.clone(), join);
        Box::pin(async { Ok(answer.await.map(Full::from)) })
    }
}

/// The buffers and config of the hub, for a WebSocket that the app upgrades itself. tungstenite's own let a peer send
/// 64 MiB, and cost 140 KB for each idle one.
pub fn websocket_config(hub: &SignalingHub) -> WebSocketConfig {
    hub.config().websocket_config()
}

/// A WebSocket that the app upgraded itself, best with [`websocket_config`], for [`SignalingHub::serve`].
///
/// The hub counts its messages, and not the fragments that tungstenite puts them together of. In public prefer
/// [`upgrade_with`], which counts those too.
pub fn transport<S: AsyncRead + AsyncWrite + Unpin + Send>(
    socket: WebSocketStream<S>,
) -> impl Transport<Err = TransportError> + Unpin {
    WebSocket::new(socket)
}
