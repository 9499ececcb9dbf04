//! The answer to a request for ICE servers.

use bytes::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response};

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
        Err(rejection) => rejection.into(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    cors::allow(&mut response, &headers, hub);
    response
}
