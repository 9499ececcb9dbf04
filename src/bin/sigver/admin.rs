//! The operator's own listener: whether the server is well, its metrics, and a page that shows it live.

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
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use sigver::protocol::GroupKey;
use sigver::{Cause, PeerSnapshot, SignalingHub};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};

const PAGE: &str = include_str!("admin/page.html");
/// The page has its own script and style, and talks to where it comes from.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
    frame-ancestors 'none'";
/// How many groups the page is told of: the largest ones.
const GROUPS_SHOWN: usize = 200;
/// How many peers of a group.
const PEERS_SHOWN: usize = 500;
/// How long a connection may take for the head of a request, and for all of its requests.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);
/// How often the exporter sorts in what was recorded since.
const UPKEEP: Duration = Duration::from_secs(5);

/// What the operator's listener tells of.
#[derive(Clone)]
pub(crate) struct Admin {
    hub: SignalingHub,
    metrics: PrometheusHandle,
    /// The host in `--admin`.
    name: String,
}

/// Has what the hubs of this process report kept for [`Admin`]. Once, and before there is a hub.
pub(crate) fn record_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("nobody else records in this process");
    handle
}

impl Admin {
    /// At this host and port.
    pub(crate) fn new(address: &str, hub: SignalingHub, metrics: PrometheusHandle) -> Self {
        let name = address.rsplit_once(':').map_or(address, |(name, _)| name).to_owned();
        Self { hub, metrics, name }
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) -> Infallible {
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                (socket, client) = crate::server::accept(&listener) => {
                    tokio::spawn(self.clone().connection(socket, client));
                }
                _ = upkeep.tick() => self.metrics.run_upkeep(),
            }
        }
    }

    async fn connection(self, socket: TcpStream, client: SocketAddr) {
        let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(self.answer(&request))));
        let mut http = http1::Builder::new();
        let served = http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_WITHIN);
        let served = served.serve_connection(TokioIo::new(socket), service);
        // Whoever wants more after that time connects again.
        if let Ok(Err(error)) = timeout(CONNECTION_WITHIN, served).await {
            tracing::debug!(%client, %error, "no HTTP on the admin listener");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        if matches!(path, "/" | "/status") || path.starts_with("/groups/") {
            // Another page could have its own name mean this address, and read along in the operator's browser.
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            if !self.is_called(host) {
                return text(
                    StatusCode::MISDIRECTED_REQUEST,
                    "Ask by an IP address, localhost, or the name in --admin.\n",
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
            path => match path.strip_prefix("/groups/").and_then(|hash| self.key_of(hash)) {
                Some(key) => {
                    let mut peers = self.hub.peers(key.as_str());
                    peers.sort_unstable_by_key(|peer| peer.id);
                    json(&peers.iter().take(PEERS_SHOWN).map(Peer::of).collect::<Vec<_>>())
                }
                None => {
                    text(StatusCode::NOT_FOUND, "There is /, /status, /groups/HASH, /healthz, /readyz, /metrics.\n")
                }
            },
        }
    }

    /// Whether a page at this host and port may be this server's own.
    fn is_called(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let known = ["localhost", &*self.name].iter().any(|known| name.eq_ignore_ascii_case(known));
        known || bare.parse::<IpAddr>().is_ok()
    }

    fn key_of(&self, hash: &str) -> Option<GroupKey> {
        let hash = u64::from_str_radix(hash, 16).ok()?;
        self.hub.groups().into_iter().find(|group| group.key_hash == hash).map(|group| group.key)
    }
}

/// What the page shows. Keys may be all that protects their groups, so it has hashes of them, as the log does.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    draining: bool,
    peers: usize,
    groups: usize,
    links: usize,
    relayed_messages: u64,
    rejections: Vec<(&'static str, u64)>,
    largest_groups: Vec<GroupStatus>,
}

#[derive(Serialize)]
struct GroupStatus {
    hash: String,
    peers: usize,
    members: usize,
    links: usize,
}

#[derive(Serialize)]
struct Peer {
    id: u64,
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
        groups.sort_unstable_by_key(|group| (std::cmp::Reverse(group.peers), group.key_hash));
        groups.truncate(GROUPS_SHOWN);
        let rejections = Cause::ALL.iter().map(|&cause| (cause.as_str(), stats.rejections.get(cause)));
        let group = |group: &sigver::GroupSnapshot| GroupStatus {
            hash: format!("{:016x}", group.key_hash),
            peers: group.peers,
            members: group.members,
            links: group.links,
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            draining: hub.is_draining(),
            peers: stats.peers,
            groups: stats.groups,
            links: stats.links,
            relayed_messages: stats.relayed_messages,
            rejections: rejections.filter(|(_, count)| *count > 0).collect(),
            largest_groups: groups.iter().map(group).collect(),
        }
    }
}

impl Peer {
    fn of(peer: &PeerSnapshot) -> Self {
        Self {
            id: peer.id.0,
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

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    content("application/json", serde_json::to_string(value).expect("numbers and text become JSON"))
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = content("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

fn content(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
