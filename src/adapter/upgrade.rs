//! The WebSocket handshake that all frameworks share.

use bytes::Bytes;
use data_encoding::BASE64;
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_tungstenite::tungstenite::error::{Error, ProtocolError};
use hyper_tungstenite::tungstenite::handshake::server::create_response;
use hyper_tungstenite::tungstenite::protocol::Role;
use hyper_tungstenite::{WebSocketStream, is_upgrade_request};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::cors;
use super::frame_limiter::FrameLimiter;
use super::hyper::limiter::{ConnectionHandle, KeepOpen};
#[cfg(feature = "turn")]
use super::ice_servers;
use super::websocket::WebSocket;
use crate::hub::PendingConnection;
use crate::{JoinRequest, SignalingHub};

/// Answers a WebSocket handshake. If the hub admits the peer, a new task serves its WebSocket. A request for ICE
/// servers gets them if the hub has any. Any other request gets an error status and a line of text that explains it.
pub(super) async fn upgrade(mut request: Request<()>, hub: SignalingHub, mut join: JoinRequest) -> Response<Bytes> {
    let handle = request.extensions().get::<ConnectionHandle>().cloned();
    if let Some(handle) = handle.as_ref().filter(|_| join.client_ip().is_none()) {
        join = join.with_client_ip(handle.client_ip());
    }
    let response = match accept(&request) {
        Ok(response) => response.map(|()| Bytes::new()),
        #[cfg(feature = "turn")]
        Err(HandshakeError::NotAnUpgrade) if hub.has_ice_servers() && ice_servers::is_requested_by(&request) => {
            return ice_servers::respond(request, &hub, join).await;
        }
        Err(error) => {
            #[cfg(feature = "turn")]
            if hub.has_ice_servers()
                && let Some(response) = ice_servers::preflight(&request, &hub)
            {
                return response;
            }
            let mut response = error.into_response(request.version()).map(Bytes::from_static);
            // So that a page can tell a hub without ICE servers from one that it cannot reach.
            if request.method() == Method::GET {
                cors::allow(&mut response, request.headers(), &hub);
            }
            return response;
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let is_http2 = request.version() >= Version::HTTP_2;
    let connection = hub.expect_connection(join.with_parts(request.into_parts().0)).await;
    if let Some(rejection) = connection.rejection()
        && rejection.status().is_some()
    {
        return rejection.clone().into();
    }
    let kept = handle.as_ref().map(ConnectionHandle::keep_open);
    tokio::spawn(serve(upgrade, connection, kept, is_http2));
    response
}

/// Serves the WebSocket. Over HTTP/2, its connection is `kept` open until the socket has been dropped.
async fn serve(upgrade: OnUpgrade, connection: PendingConnection, kept: Option<KeepOpen>, is_http2: bool) {
    let config = connection.config();
    match timeout(config.upgrade_timeout, upgrade).await {
        Ok(Ok(upgraded)) => {
            // Over HTTP/1.1, the connection has left its limiter.
            let _kept = kept.filter(|_| is_http2);
            let socket = FrameLimiter::new(TokioIo::new(upgraded), config.messages_per_second);
            let config = Some(config.websocket_config());
            // Boxed because this short-lived future is larger than everything that the task holds later.
            let stream = Box::pin(WebSocketStream::from_raw_socket(socket, Role::Server, config)).await;
            // The hub logs why the peer left.
            let _ = connection.serve(WebSocket::new(stream)).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(hub = config.name.as_deref(), %error, "connection lost before the WebSocket upgrade completed")
        }
        Err(_) => connection.time_out(),
    }
}

/// Why a request is not a valid WebSocket handshake.
#[derive(Clone, Copy)]
enum HandshakeError {
    NotAnUpgrade,
    /// The client asks for an upgrade, but the server does not offer one.
    NoUpgradeOffered,
    MethodNotGet,
    UnsupportedVersion,
    InvalidKey,
}

impl HandshakeError {
    fn into_response(self, version: Version) -> Response<&'static [u8]> {
        let (status, text) = match self {
            Self::NotAnUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                if cfg!(feature = "http2") {
                    "This is a WebRTC signaling endpoint. Open it as a WebSocket (ws:// or wss://), with GET over HTTP/1.1 or \
                     with an extended CONNECT over HTTP/2.\n"
                } else {
                    "This is a WebRTC signaling endpoint. Open it as a WebSocket (ws:// or wss://), with GET over HTTP/1.1. \
                     Over HTTP/2, sigver requires its feature `http2`.\n"
                },
            ),
            Self::NoUpgradeOffered => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The request is a WebSocket handshake, but its extensions lack hyper's `OnUpgrade`. A framework or layer has \
                 removed it, or the service was called without a connection.\n",
            ),
            Self::MethodNotGet => {
                (StatusCode::METHOD_NOT_ALLOWED, "The method of a WebSocket handshake must be GET.\n")
            }
            Self::UnsupportedVersion => (StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version must be 13.\n"),
            Self::InvalidKey => (StatusCode::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64.\n"),
        };
        let mut response = Response::new(text.as_bytes());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match self {
            Self::MethodNotGet => _ = headers.insert(ALLOW, HeaderValue::from_static("GET")),
            // HTTP/2 forbids these headers.
            _ if version >= Version::HTTP_2 => {}
            _ => {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            }
        }
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        response
    }
}

/// Returns the response that accepts a handshake over HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441).
fn accept(request: &Request<()>) -> Result<Response<()>, HandshakeError> {
    // hyper does not offer an upgrade over HTTP/1.0 or without the headers that request one.
    if request.extensions().get::<OnUpgrade>().is_none() {
        let is_handshake = request.version() == Version::HTTP_11 && is_upgrade_request(request);
        return Err(if is_handshake { HandshakeError::NoUpgradeOffered } else { HandshakeError::NotAnUpgrade });
    }
    let mut response = if request.version() >= Version::HTTP_2 {
        if !is_websocket_connect(request) {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if request.headers().get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(HandshakeError::UnsupportedVersion);
        }
        Response::new(())
    } else {
        if !is_upgrade_request(request) {
            return Err(HandshakeError::NotAnUpgrade);
        }
        let response = create_response(request).map_err(HandshakeError::from)?;
        // tungstenite 0.29 checks only that the header exists.
        if !has_valid_key(request.headers()) {
            return Err(HandshakeError::InvalidKey);
        }
        response
    };
    if let Some(protocol) = first_protocol(request.headers()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Returns whether the key is 16 bytes in base64 (RFC 6455 section 4.2.1).
fn has_valid_key(headers: &HeaderMap) -> bool {
    let key = headers.get(SEC_WEBSOCKET_KEY).map(|key| BASE64.decode(key.as_bytes()));
    matches!(key, Some(Ok(key)) if key.len() == 16)
}

/// Returns whether an extended CONNECT opens a WebSocket. Other protocols use the same method.
#[cfg(feature = "http2")]
fn is_websocket_connect(request: &Request<()>) -> bool {
    request.extensions().get::<hyper::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

#[cfg(not(feature = "http2"))]
fn is_websocket_connect(_: &Request<()>) -> bool {
    false
}

/// Returns the first offered subprotocol, as npm's sigver does. A browser that offers subprotocols closes the
/// connection if the server selects none.
fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    HeaderValue::from_str(offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty())?).ok()
}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Protocol(ProtocolError::WrongHttpMethod) => Self::MethodNotGet,
            Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => Self::UnsupportedVersion,
            Error::Protocol(ProtocolError::MissingSecWebSocketKey) => Self::InvalidKey,
            _ => Self::NotAnUpgrade,
        }
    }
}
