//! The parameters of the route that a request has matched.

use std::borrow::Cow;

use ::axum::extract::rejection::RawPathParamsRejection;
use ::axum::extract::{FromRequestParts as _, MatchedPath, OriginalUri, RawPathParams};
use ::axum::http::request::Parts;
use ::axum::http::{Extensions, Request, Uri};
use futures::FutureExt as _;

use crate::JoinRequest;
use crate::protocol::{GroupKey, KeyError};

/// Marks a request of [`router_with`](super::router_with), whose routes have the parameter `key` unless it is empty.
#[derive(Clone)]
pub(super) struct BelowMount;

/// Returns the key that [`handler`](super::handler) and [`router`](super::router) read from the URL: the route's
/// parameter `key`, or, if it is empty or there is none, the parameter `key` of the query.
///
/// # Errors
/// The key is missing or invalid.
pub fn key(parts: &Parts) -> Result<GroupKey, KeyError> {
    join_request(&parts.uri, &parts.extensions).try_key().cloned().map_err(|error| *error)
}

/// Returns a parameter of the route, such as `tenant` of `/t/{tenant}/{*key}`, percent-decoded. It works in routes, in
/// nested routers, and in the [`Admission`](crate::Admission) hook of a mounted hub.
///
/// # Errors
/// [`KeyError::MissingParameter`] if the route has no such parameter, and [`KeyError::NotUtf8`] if a parameter of the
/// route is not UTF-8.
pub fn path_param(parts: &Parts, name: &'static str) -> Result<String, KeyError> {
    decoded_param(&parts.extensions, name)?.ok_or(KeyError::MissingParameter { name })
}

/// Returns the join request of a URL.
pub(super) fn join_request(uri: &Uri, extensions: &Extensions) -> JoinRequest {
    let key = encoded_param(uri, extensions, "key");
    let join = JoinRequest::from_url(key.as_deref().unwrap_or_default(), uri.query());
    // The app's route is wrong, rather than the client's URL.
    let is_misnamed = key.is_none() && pattern(extensions).contains('{') && extensions.get::<BelowMount>().is_none();
    match join.try_key() {
        Err(KeyError::Empty) if is_misnamed => join.with_key_of(Err(KeyError::MissingParameter { name: "key" }).into()),
        _ => join,
    }
}

fn pattern(extensions: &Extensions) -> &str {
    extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

/// Returns the path segment or tail that a parameter of the route matches. `None` if the route has no such parameter.
///
/// It is still percent-encoded: axum's extractors ignore invalid escapes, which must close a peer with 4745.
fn encoded_param<'a>(uri: &'a Uri, extensions: &'a Extensions, name: &'static str) -> Option<Cow<'a, str>> {
    let pattern = pattern(extensions);
    let (segment, is_wildcard) = match pattern.find(&format!("{{*{name}}}")) {
        Some(at) => (at, true),
        None => (pattern.find(&format!("{{{name}}}"))?, false),
    };
    let rest = uri.path();
    // The original path includes the prefixes that nesting has removed. If it does not end with the current path,
    // middleware has rewritten the URI, and the current path counts.
    let original = extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.path());
    let path = original.filter(|original| original.ends_with(rest)).unwrap_or(rest);
    if rest == "/" && path == "/" {
        // The parameter belongs to a removed prefix, and the original path may be another one.
        let decoded = decoded_param(extensions, name).ok()??;
        return Some(decoded.replace('%', "%25").into());
    }
    // The part of the pattern before the parameter matches exactly as many slashes as it contains.
    let slashes = pattern[..segment].matches('/').count();
    let (slash, _) = path.match_indices('/').nth(slashes.saturating_sub(1))?;
    let tail = &path[slash + 1..];
    Some(if is_wildcard { tail } else { tail.split('/').next().unwrap_or_default() }.into())
}

/// Returns a parameter of the route as axum's extractors decode it.
fn decoded_param(extensions: &Extensions, name: &'static str) -> Result<Option<String>, KeyError> {
    // The extractor needs an exclusive reference, and reads the extensions only.
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.extensions = extensions.clone();
    let params = RawPathParams::from_request_parts(&mut parts, &()).now_or_never();
    match params.expect("the extractor does not wait") {
        Ok(params) => Ok(params.iter().find(|(param, _)| *param == name).map(|(_, value)| value.to_owned())),
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => Err(KeyError::NotUtf8),
        // The request has not passed a route.
        Err(_) => Ok(None),
    }
}
