//! Health checks, the status as JSON, and a page with the live status of one hub.

mod fields;
mod hosts;
mod status;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::hyper::body::Bytes;
use ::hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use ::hyper::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use serde::Serialize;
use serde_json::Value;

use super::mount::Mount;
use super::service::ResponseFuture;
use crate::{GroupSnapshot, SignalingHub};
use fields::Fields;
use hosts::AllowedHosts;
use status::{Peer, Status};

const PAGE: &str = include_str!("page.html");
/// The page contains its script and style, and requests only its own server.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; frame-ancestors 'none'";
/// `/groups/HASH` lists at most this number of peers.
const MAX_LISTED_PEERS: usize = 500;

/// Returns a service with the health checks, the status and the admin page of a hub.
pub fn admin(hub: SignalingHub) -> AdminService {
    AdminService {
        hub,
        mount: Mount::default(),
        metrics: None,
        fields: Fields::default(),
        allowed_hosts: AllowedHosts::default(),
    }
}

/// A service with the health checks, the status and the admin page of a hub. Created by [`admin`].
///
/// | path | response |
/// |---|---|
/// | `/` | a page that shows the status, updated each second, and the peers of a selected group |
/// | `/status` | JSON: the hub's counts, and its 200 largest groups by the hash of their key |
/// | `/groups/HASH` | JSON: at most 500 peers of the group with this hash, those with the lowest ids |
/// | `/healthz` | 200 while the server responds |
/// | `/readyz` | 200, or 503 if the hub is draining or, in a cluster, has lost its engine |
/// | `/metrics` | the text of the app's exporter, if [`AdminService::with_metrics`] is set |
///
/// Other paths get 404, and methods other than GET and HEAD get 405. No response may be cached, and none contains a key
/// or a payload. `/groups/HASH` and the page contain identities and client IPs. The chapter `observability` of the
/// guide describes the fields of the JSON.
///
/// **Warning:** the service has no authentication. Mount it behind that of the app, or on a listener that only
/// operators reach. If a browser reaches it without a login, set [`AdminService::allowed_hosts`].
///
/// The page works at any path, with or without a slash at its end, as its requests are relative to it. As a service of
/// hyper and of tower, it is always ready, ignores the body, and never fails.
///
/// ```
/// use hyper::{Request, body::Incoming};
/// use sigver::SignalingHub;
///
/// let hub = SignalingHub::new();
/// let admin = sigver::hyper::admin(hub.clone()).at("/internal/sigver");
/// let signal = sigver::hyper::service(hub).at("/signal");
/// let respond = async |request: Request<Incoming>| {
///     use hyper::service::Service as _;
///     // Authenticate the request first.
///     if admin.matches(request.uri().path()) {
///         admin.call(request).await
///     } else {
///         signal.call(request).await
///     }
/// };
/// ```
#[derive(Clone)]
pub struct AdminService {
    hub: SignalingHub,
    mount: Mount,
    metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    fields: Fields,
    allowed_hosts: AllowedHosts,
}

impl From<SignalingHub> for AdminService {
    fn from(hub: SignalingHub) -> Self {
        admin(hub)
    }
}

impl AdminService {
    /// Mounts the service at a path such as `/internal/sigver`. Default: the root. Requests for other paths get 404.
    ///
    /// Do not set it if the framework removes the path of the mount from the URI, as axum's `nest_service` does.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.mount = Mount::new(path);
        self
    }

    /// Returns whether a path is that of the mount, or below it.
    pub fn matches(&self, path: &str) -> bool {
        self.mount.tail(path).is_some()
    }

    /// Responds only if the host of the request is an IP address, `localhost` or one of these names, and otherwise with
    /// 421. Default: any host.
    ///
    /// Set it if a browser reaches the service without a login. Without it, another site can point its own name at the
    /// address of the server, and read the responses in the operator's browser (DNS rebinding). Requests for `/healthz`
    /// and `/readyz` may name any host, because load balancers send their own.
    #[must_use]
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.allowed_hosts = AllowedHosts::new(hosts);
        self
    }

    /// Serves the text of a Prometheus exporter at `/metrics`. Default: 404, because the recorder belongs to the app.
    ///
    /// `render` runs for each request, on the task that serves it.
    #[must_use]
    pub fn with_metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(render));
        self
    }

    /// Adds a field of the app to the JSON of `/status`. The name must differ from the names that the status contains.
    ///
    /// The page shows numbers among its figures, and a list of pairs of a name and a count as a table. `value` runs for
    /// each request, on the task that serves it.
    ///
    /// ```
    /// use serde_json::json;
    ///
    /// let admin = sigver::hyper::admin(sigver::SignalingHub::new())
    ///     .with_field("sessions", || json!(7))
    ///     .with_field("failed_logins", || json!([["wrong_password", 3], ["unknown_user", 1]]));
    /// ```
    #[must_use]
    pub fn with_field(mut self, name: &'static str, value: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.fields = self.fields.with(name, value);
        self
    }

    /// Responds to a request. Shared by the service and the filter of warp.
    pub(in crate::adapter) fn respond(
        &self,
        method: Method,
        uri: Uri,
        headers: &HeaderMap,
    ) -> impl Future<Output = Response<Bytes>> + Send + use<> {
        let (service, is_allowed_host) = (self.clone(), self.allowed_hosts.allow(&uri, headers));
        async move { service.respond_to(method, uri.path(), is_allowed_host).await }
    }

    async fn respond_to(&self, method: Method, path: &str, is_allowed_host: bool) -> Response<Bytes> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are supported.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let tail = self.mount.tail(path);
        if !is_allowed_host && !matches!(tail, Some("healthz" | "readyz")) {
            let rule = "The host of the request must be an IP address, localhost, or an allowed host.\n";
            return text(StatusCode::MISDIRECTED_REQUEST, rule);
        }
        let response = match (tail, &self.metrics) {
            (Some(""), _) => {
                let mut response = content("text/html; charset=utf-8", PAGE);
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
                Some(response)
            }
            (Some("healthz"), _) => Some(text(StatusCode::OK, "ok\n")),
            (Some("readyz"), _) => Some(self.readiness()),
            (Some("status"), _) => Some(json(&Status::of(&self.hub, &self.fields).await)),
            (Some("metrics"), Some(render)) => Some(content("text/plain; version=0.0.4; charset=utf-8", render())),
            (Some(tail), _) => tail.strip_prefix("groups/").and_then(|hash| self.find_group(hash)).map(|group| {
                let mut peers = self.hub.peers(group.key);
                peers.sort_unstable_by_key(|peer| peer.id);
                json(&peers.iter().take(MAX_LISTED_PEERS).map(Peer::of).collect::<Vec<_>>())
            }),
            (None, _) => None,
        };
        response.unwrap_or_else(|| self.not_found())
    }

    fn readiness(&self) -> Response<Bytes> {
        if self.hub.is_draining() {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if !self.hub.is_ready() {
            text(StatusCode::SERVICE_UNAVAILABLE, "the engine of the cluster is unreachable\n")
        } else {
            text(StatusCode::OK, "ready\n")
        }
    }

    fn find_group(&self, hash: &str) -> Option<GroupSnapshot> {
        self.hub.find_group(u64::from_str_radix(hash, 16).ok()?)
    }

    fn not_found(&self) -> Response<Bytes> {
        let mount = &self.mount;
        let mut paths = format!("Paths: {mount}/");
        for path in
            ["status", "groups/HASH", "healthz", "readyz"].into_iter().chain(self.metrics.as_ref().map(|_| "metrics"))
        {
            paths += &format!(", {mount}/{path}");
        }
        text(StatusCode::NOT_FOUND, paths + "\n")
    }
}

impl<B> ::hyper::service::Service<Request<B>> for AdminService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> Self::Future {
        let response = self.respond(request.method().clone(), request.uri().clone(), request.headers());
        Box::pin(async { Ok(response.await.map(Full::new)) })
    }
}

impl<B> tower_service::Service<Request<B>> for AdminService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ::hyper::service::Service::call(&*self, request)
    }
}

impl fmt::Debug for AdminService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminService").field("hub", &self.hub).field("mount", &self.mount).finish_non_exhaustive()
    }
}

fn json(value: &impl Serialize) -> Response<Bytes> {
    content("application/json", serde_json::to_string(value).expect("numbers and strings can be written as JSON"))
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = content("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// Returns a response that no cache keeps.
fn content(content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
