//! The admin listener: health checks, metrics, and a page with the live status.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use sigver::protocol::GroupKey;
use sigver::{Cause, CauseCounts, GroupSnapshot, PeerSnapshot, SignalingHub};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::listener::accept;

const PAGE: &str = include_str!("admin.html");
/// The page contains its script and style, and requests only its own server.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
    frame-ancestors 'none'";
/// `/status` lists the largest groups, at most this number.
const MAX_LISTED_GROUPS: usize = 200;
/// `/groups/HASH` lists at most this number of peers.
const MAX_LISTED_PEERS: usize = 500;
/// The time for the head of a request, and for all requests of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval at which the exporter aggregates the recorded histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The admin service of one hub.
#[derive(Clone)]
pub(super) struct Admin {
    hub: SignalingHub,
    metrics: PrometheusHandle,
    /// The host part of the setting `admin`.
    host: String,
}

impl Admin {
    /// Creates the service for the setting `admin`, `HOST:PORT`.
    pub(super) fn new(address: &str, hub: SignalingHub, metrics: PrometheusHandle) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        Self { hub, metrics, host }
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(self, listener: TcpListener) -> Infallible {
        let mut upkeep = interval(UPKEEP_INTERVAL);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                (socket, client) = accept(&listener) => {
                    tokio::spawn(self.clone().serve_connection(socket, client));
                }
                _ = upkeep.tick() => self.metrics.run_upkeep(),
            }
        }
    }

    async fn serve_connection(self, socket: TcpStream, client: SocketAddr) {
        let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(self.respond(&request))));
        let mut http = http1::Builder::new();
        let served = http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
        let served = served.serve_connection(TokioIo::new(socket), service);
        // A client with further requests connects again.
        if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, served).await {
            tracing::debug!(%client, %error, "admin connection failed");
        }
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are supported.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        if matches!(path, "/" | "/status") || path.starts_with("/groups/") {
            // DNS rebinding: another site could point its own name at this address and read the responses in the
            // operator's browser.
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            if !self.is_own_host(host) {
                return text(
                    StatusCode::MISDIRECTED_REQUEST,
                    "The host must be an IP address, localhost, or the host of --admin.\n",
                );
            }
        }
        match path {
            "/" => {
                let mut response = content("text/html; charset=utf-8", PAGE);
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
                response
            }
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.hub.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => text(StatusCode::OK, "ready\n"),
            "/metrics" => content("text/plain; version=0.0.4; charset=utf-8", self.metrics.render()),
            "/status" => json(&Status::of(&self.hub)),
            path => match path.strip_prefix("/groups/").and_then(|hash| self.find_key(hash)) {
                Some(key) => {
                    let mut peers = self.hub.peers(key.as_str());
                    peers.sort_unstable_by_key(|peer| peer.id);
                    json(&peers.iter().take(MAX_LISTED_PEERS).map(Peer::of).collect::<Vec<_>>())
                }
                None => text(StatusCode::NOT_FOUND, "Paths: /, /status, /groups/HASH, /healthz, /readyz, /metrics\n"),
            },
        }
    }

    /// Returns whether a `Host` header names this server. Only a browser on this server's own page sends such a host.
    fn is_own_host(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let known = ["localhost", &*self.host].iter().any(|known| name.eq_ignore_ascii_case(known));
        known || bare.parse::<IpAddr>().is_ok()
    }

    fn find_key(&self, hash: &str) -> Option<GroupKey> {
        let hash = u64::from_str_radix(hash, 16).ok()?;
        self.hub.groups().into_iter().find(|group| group.key_hash == hash).map(|group| group.key)
    }
}

/// The response of `/status`. It contains hashes of keys, as the log does: a key can be the only protection of a group.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    draining: bool,
    peers: usize,
    groups: usize,
    links: usize,
    relayed_messages: u64,
    rejections: Vec<(&'static str, u64)>,
    closes: Vec<(&'static str, u64)>,
    largest_groups: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    hash: String,
    peers: usize,
    members: usize,
    links: usize,
}

/// A peer in the response of `/groups/HASH`.
#[derive(Serialize)]
struct Peer {
    peer: u64,
    identity: Option<String>,
    client_ip: Option<String>,
    age_seconds: u64,
    member_id: Option<u32>,
    is_bound: bool,
    joiners: usize,
    queued_messages: usize,
    queued_bytes: usize,
}

impl Status {
    fn of(hub: &SignalingHub) -> Self {
        let stats = hub.stats();
        let mut groups = hub.groups();
        groups.sort_unstable_by_key(|group| (Reverse(group.peers), group.key_hash));
        groups.truncate(MAX_LISTED_GROUPS);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            draining: hub.is_draining(),
            peers: stats.peers,
            groups: stats.groups,
            links: stats.links,
            relayed_messages: stats.relayed_messages,
            rejections: by_cause(&stats.rejections),
            closes: by_cause(&stats.closes),
            largest_groups: groups.iter().map(Group::of).collect(),
        }
    }
}

impl Group {
    fn of(group: &GroupSnapshot) -> Self {
        Self {
            hash: format!("{:016x}", group.key_hash),
            peers: group.peers,
            members: group.members,
            links: group.links,
        }
    }
}

impl Peer {
    fn of(peer: &PeerSnapshot) -> Self {
        Self {
            peer: peer.id.0,
            identity: peer.identity.as_deref().map(str::to_owned),
            client_ip: peer.client_ip.map(|ip| ip.to_string()),
            age_seconds: peer.age.as_secs(),
            member_id: peer.member_id.map(|id| id.0),
            is_bound: peer.is_bound,
            joiners: peer.joiners,
            queued_messages: peer.queued_messages,
            queued_bytes: peer.queued_bytes,
        }
    }
}

/// Returns the counts that are not 0.
fn by_cause(counts: &CauseCounts) -> Vec<(&'static str, u64)> {
    let counts = Cause::ALL.iter().map(|&cause| (cause.as_str(), counts.get(cause)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    content("application/json", serde_json::to_string(value).expect("numbers and strings can be written as JSON"))
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = content("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

fn content(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
