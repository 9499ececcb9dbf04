//! The admin listener: health checks, metrics, and a page with the live status.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_SECURITY_POLICY, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use sigver::{GroupSnapshot, SignalingHub};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection_table::ConnectionTable;
use super::handshakes::Handshakes;
use super::health;
use super::listener::Listener;
use super::listener::Stream;
use super::response::{content, json, text};
use super::status::{Peer, Status};

const PAGE: &str = include_str!("admin.html");
/// The page contains its script and style, and requests only its own server.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
    frame-ancestors 'none'";
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
    handshakes: Arc<Handshakes>,
    metrics: PrometheusHandle,
    /// The host part of the setting `admin`.
    host: String,
}

impl Admin {
    /// Creates the service for the setting `admin`, `HOST:PORT`.
    pub(super) fn new(
        address: &str,
        hub: SignalingHub,
        handshakes: Arc<Handshakes>,
        metrics: PrometheusHandle,
    ) -> Self {
        describe_gauge!("sigver_handshakes", "Connections that have not completed the WebSocket handshake");
        describe_counter!(
            "sigver_handshakes_closed_total",
            "Connections that a limit closed before they completed the WebSocket handshake, by cause"
        );
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        Self { hub, handshakes, metrics, host }
    }

    /// Serves until it is dropped. A connection over the maximum closes the oldest one.
    pub(super) async fn serve(&self, listener: &Listener, max_connections: usize) -> Infallible {
        let connections = ConnectionTable::new(max_connections, max_connections);
        let mut upkeep = interval(UPKEEP_INTERVAL);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                (socket, client) = listener.accept() => {
                    let (connection, _) = connections.insert(client.ip(), Vec::new());
                    tokio::spawn(connection.run(self.clone().serve_connection(socket, client)));
                }
                _ = upkeep.tick() => self.metrics.run_upkeep(),
            }
        }
    }

    async fn serve_connection(self, socket: Stream, client: SocketAddr) {
        let admin = &self;
        let service = service_fn(|request| async move { Ok::<_, Infallible>(admin.respond(&request).await) });
        let mut http = http1::Builder::new();
        let served = http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
        let served = served.serve_connection(TokioIo::new(socket), service);
        // A client with further requests connects again.
        if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, served).await {
            tracing::debug!(%client, %error, "admin connection failed");
        }
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are supported.\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let path = request.uri().path();
        // Before the check of the host: health checks of load balancers may send any `Host`.
        if let Some(response) = health::respond(path, &self.hub) {
            return response;
        }
        // DNS rebinding: another site could point its own name at this address and read the responses in the operator's
        // browser.
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_own_host(host) {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "The host must be an IP address, localhost, or the host of --admin.\n",
            );
        }
        match path {
            "/" => {
                let mut response = content("text/html; charset=utf-8", PAGE);
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
                response
            }
            "/metrics" => content("text/plain; version=0.0.4; charset=utf-8", self.render_metrics()),
            "/status" => json(&Status::of(&self.hub, &self.handshakes).await),
            path => match path.strip_prefix("/groups/").and_then(|hash| self.find_group(hash)) {
                Some(group) => {
                    let mut peers = self.hub.peers(group.key);
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

    fn render_metrics(&self) -> String {
        gauge!("sigver_handshakes").set(self.handshakes.pending() as f64);
        for (cause, count) in self.handshakes.closes() {
            counter!("sigver_handshakes_closed_total", "cause" => cause.as_str()).absolute(count);
        }
        self.metrics.render()
    }

    fn find_group(&self, hash: &str) -> Option<GroupSnapshot> {
        self.hub.find_group(u64::from_str_radix(hash, 16).ok()?)
    }
}
