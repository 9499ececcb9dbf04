//! The answer to a request for ICE servers.

use bytes::Bytes;
use hyper::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_TYPE,
    HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::cors;
use crate::{JoinRequest, SignalingHub};

/// Returns whether a request asks for ICE servers: a GET that names `application/json` in its `Accept` header.
///
/// A handshake without its `Upgrade` header passed through a misconfigured proxy. Its answer explains that.
pub(super) fn is_requested_by(request: &Request<()>) -> bool {
    let headers = request.headers();
    let is_handshake =
        [UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION].iter().any(|name| headers.contains_key(name));
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let mut types = accepted.flat_map(|accept| accept.split(',')).filter_map(|range| range.split(';').next());
    request.method() == Method::GET
        && !is_handshake
        && types.any(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

/// Returns the answer to a preflight: browsers ask with OPTIONS before they send a GET to another origin with a header
/// such as `Authorization`. `None` for any other request.
pub(super) fn preflight(request: &Request<()>, hub: &SignalingHub) -> Option<Response<Bytes>> {
    let headers = request.headers();
    if request.method() != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    cors::allow(&mut response, headers, hub);
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    if let Some(names) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        // The admission hook decides what a header means. The browser adds no header of its own to these.
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    Some(response)
}

pub(super) async fn respond(request: Request<()>, hub: &SignalingHub, join: JoinRequest) -> Response<Bytes> {
    let parts = request.into_parts().0;
    let headers = parts.headers.clone();
    let mut response = match hub.ice_servers(join.with_parts(parts)).await {
        Ok(configuration) => {
            let json = serde_json::to_vec(&configuration).expect("text and numbers can be written as JSON");
            let mut response = Response::new(Bytes::from(json));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(rejection) => {
            let names: Vec<_> = rejection.headers().map(|(name, _)| name.as_str()).collect();
            let exposed = HeaderValue::from_str(&names.join(", ")).expect("header names are ASCII");
            let mut response = Response::from(rejection);
            if !exposed.is_empty() {
                response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
            response
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cors::allow(&mut response, &headers, hub);
    response
}
