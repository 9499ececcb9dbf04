//! The WebSocket handshake, the same for every framework that rests on hyper.

use bytes::Bytes;
use hyper::header::{
    ALLOW, CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};
use hyper_tungstenite::tungstenite::error::{Error, ProtocolError};
use hyper_tungstenite::tungstenite::handshake::server::create_response;
use hyper_tungstenite::tungstenite::protocol::Role;
use hyper_tungstenite::{WebSocketStream, is_upgrade_request};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::frame_limiter::Metered;
use super::websocket::WebSocket;
use crate::hub::CountGuard;
use crate::{JoinRequest, Permit, Rejection, SignalingHub};

/// Answers a request for a peer's socket. A handshake of who may come in gets its socket, served by a task of its own;
/// anything else gets a status and a line that says what would be right.
pub(super) async fn upgrade(mut request: Request<()>, hub: SignalingHub, join: JoinRequest) -> Response<Bytes> {
    let response = match accept(&request) {
        Ok(response) => response.map(|()| Bytes::new()),
        Err(wrong) => return wrong.into_response(request.version()).map(Bytes::from_static),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let asked = hub.admit(join.with_parts(request.into_parts().0)).await;
    if let Err(rejection) = &asked
        && let Some(status) = rejection.status()
    {
        hub.record_rejection(rejection);
        let mut response = Response::new(Bytes::from(format!("{}\n", rejection.reason())));
        *response.status_mut() = status;
        return response;
    }
    let connection = hub.count_connection();
    tokio::spawn(serve(upgrade, asked, connection, hub));
    response
}

async fn serve(upgrade: OnUpgrade, admitted: Result<Permit, Rejection>, connection: CountGuard, hub: SignalingHub) {
    match timeout(hub.config().upgrade_timeout, upgrade).await {
        Ok(Ok(upgraded)) => {
            let config = Some(hub.config().websocket_config());
            let socket = Metered::new(TokioIo::new(upgraded), hub.config().messages_per_second);
            // Boxed, as it is over at once: its future is larger than all that comes after it.
            let stream = Box::pin(WebSocketStream::from_raw_socket(socket, Role::Server, config)).await;
            // The hub has logged how it ended.
            let served = hub.finish(WebSocket::metered(stream), admitted);
            drop(connection);
            let _ = served.await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "the peer went before its upgrade"),
        Err(_) => hub.record_upgrade_timeout(),
    }
}

/// Why a request is no handshake.
#[derive(Clone, Copy)]
enum NoHandshake {
    NotAnUpgrade,
    NotGet,
    WrongVersion,
    BadKey,
}

impl NoHandshake {
    fn into_response(self, version: Version) -> Response<&'static [u8]> {
        let (status, text) = match self {
            Self::NotAnUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "This is a WebRTC signaling endpoint: open it as a WebSocket (ws:// or wss://), with GET over HTTP/1.1.\n",
            ),
            Self::NotGet => (StatusCode::METHOD_NOT_ALLOWED, "A WebSocket is opened with GET.\n"),
            Self::WrongVersion => (StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version has to be 13.\n"),
            Self::BadKey => (StatusCode::BAD_REQUEST, "Sec-WebSocket-Key has to be 16 bytes in base64.\n"),
        };
        let mut response = Response::new(text.as_bytes());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match self {
            Self::NotGet => _ = headers.insert(ALLOW, HeaderValue::from_static("GET")),
            // HTTP/2 knows no such headers.
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

/// The response that accepts a handshake over HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441).
fn accept(request: &Request<()>) -> Result<Response<()>, NoHandshake> {
    // hyper offers no upgrade where there can be none: over HTTP/1.0, or without the headers that ask for it.
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(NoHandshake::NotAnUpgrade);
    }
    let mut response = if request.version() >= Version::HTTP_2 {
        if !connects_a_websocket(request) {
            return Err(NoHandshake::NotAnUpgrade);
        }
        if request.headers().get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(NoHandshake::WrongVersion);
        }
        Response::new(())
    } else {
        if !is_upgrade_request(request) {
            return Err(NoHandshake::NotAnUpgrade);
        }
        create_response(request).map_err(NoHandshake::from)?
    };
    if let Some(protocol) = first_protocol(request.headers()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Whether an extended CONNECT is for a WebSocket: other protocols come that way too.
#[cfg(feature = "http2")]
fn connects_a_websocket(request: &Request<()>) -> bool {
    request.extensions().get::<hyper::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

#[cfg(not(feature = "http2"))]
fn connects_a_websocket(_: &Request<()>) -> bool {
    false
}

/// A browser that offers subprotocols gives up when none of them is chosen. The reference server takes the first.
fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    HeaderValue::from_str(offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty())?).ok()
}

impl From<Error> for NoHandshake {
    fn from(error: Error) -> Self {
        match error {
            Error::Protocol(ProtocolError::WrongHttpMethod) => Self::NotGet,
            Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => Self::WrongVersion,
            Error::Protocol(ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey) => {
                Self::BadKey
            }
            _ => Self::NotAnUpgrade,
        }
    }
}
