//! The health checks of the public and of the admin listener.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use sigver::SignalingHub;

use super::response::text;

/// Answers the health check at this path. Returns `None` for other paths.
pub(super) fn respond(path: &str, hub: &SignalingHub) -> Option<Response<Full<Bytes>>> {
    Some(match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if hub.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" if !hub.is_ready() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the engine of the cluster is unreachable\n")
        }
        "/readyz" => text(StatusCode::OK, "ready\n"),
        _ => return None,
    })
}

/// Returns whether a request is not part of a WebSocket handshake, so that its path is not the key of a group.
///
/// A handshake without its `Upgrade` header passed through a misconfigured proxy. The signaling service explains that.
pub(super) fn is_plain_get<B>(request: &Request<B>) -> bool {
    let has_any = |headers: &HeaderMap| {
        [UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION].iter().any(|name| headers.contains_key(name))
    };
    matches!(*request.method(), Method::GET | Method::HEAD) && !has_any(request.headers())
}
