//! The admin pages of a hub in a warp app.

use std::convert::Infallible;

use ::warp::filters::path::Tail;
use ::warp::host::Authority;
use ::warp::{Filter, Reply};
use hyper::header::HeaderMap;
use hyper::{Method, Uri};

use crate::adapter::hyper::AdminService;

/// Returns a filter with the health checks, the status and the admin page of a hub. It answers every request that
/// reaches it. Put it after a path filter and a filter that authenticates operators.
///
/// [`hyper::AdminService`](crate::hyper::AdminService) documents the paths, which begin with the part of the path that
/// the previous filters have not matched. Therefore do not set [`AdminService::at`]. To add the text of the app's exporter
/// at `/metrics`, or values of the app, pass `sigver::hyper::admin(hub).with_metrics(render)` in place of the hub.
///
/// ```
/// use sigver::SignalingHub;
/// use warp::Filter as _;
/// use warp::http::StatusCode;
/// use warp::reject::not_found;
///
/// let hub = SignalingHub::new();
/// // Clients that are not operators get 404.
/// let operator = warp::header::optional("x-operator").and_then(
///     async |name: Option<String>| match name { // after a lookup in the app's sessions
///         Some(_) => Ok(()),
///         None => Err(not_found()),
///     },
/// );
/// // The page is at `/internal/sigver`, with or without a slash at the end.
/// let admin = warp::path!("internal" / "sigver" / ..)
///     .and(operator.untuple_one())
///     .and(sigver::warp::admin(hub.clone()));
/// let signal = warp::path("signal").and(sigver::warp::filter(hub.clone()));
/// // Load balancers do not log in.
/// let ready = warp::path!("readyz").map(move || match hub.is_ready() {
///     true => StatusCode::OK,
///     false => StatusCode::SERVICE_UNAVAILABLE,
/// });
/// let app = signal.or(admin).or(ready);
/// ```
pub fn admin(admin: impl Into<AdminService>) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    let service = admin.into();
    // The host of a request over HTTP/2 is not a header.
    let host = ::warp::host::optional().or(::warp::any().map(|| None)).unify();
    let url = ::warp::path::tail().and(host).map(url_below_mount);
    let request = ::warp::method().and(url).and(::warp::header::headers_cloned());
    request.then(move |method: Method, url: Uri, headers: HeaderMap| service.respond(method, url, &headers))
}

fn url_below_mount(tail: Tail, host: Option<Authority>) -> Uri {
    let url = Uri::builder().path_and_query(format!("/{}", tail.as_str()));
    let url = match host {
        Some(host) => url.scheme("http").authority(host),
        None => url,
    };
    url.build().expect("warp has parsed the path and the host")
}
