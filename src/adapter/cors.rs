//! Cross-origin access (CORS) to the answers of the hub. Browsers apply it to a GET, but not to a WebSocket.

use hyper::Response;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::SignalingHub;

/// Lets a page read the response to its request, if pages of its origin may join.
///
/// If the hub has a list of allowed origins, the request may contain the user's cookies. Otherwise, every page may read
/// the response, but a browser hides it from a page that sent cookies.
pub(super) fn allow<B>(response: &mut Response<B>, request: &HeaderMap, hub: &SignalingHub) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if !hub.has_allowed_origins() {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    let mut origins = request.get_all(ORIGIN).iter();
    if let (Some(origin), None) = (origins.next(), origins.next())
        && origin.to_str().is_ok_and(|origin| hub.allows_origin(origin))
    {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}
