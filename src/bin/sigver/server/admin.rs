//! The admin listener: the hub's admin service, with metrics and what is known of handshakes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use sigver::SignalingHub;
use sigver::hyper::AdminService;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connection_table::ConnectionTable;
use super::handshakes::Handshakes;
use super::listener::Listener;
use super::listener::Stream;

/// The time for the head of a request, and for all requests of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval at which the exporter aggregates the recorded histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The admin service of one hub.
#[derive(Clone)]
pub(super) struct Admin {
    service: AdminService,
    metrics: PrometheusHandle,
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
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let (handle, [pending, closed]) = (metrics.clone(), [(); 2].map(|()| handshakes.clone()));
        let service = sigver::hyper::admin(hub)
            .allowed_hosts([host])
            .with_metrics(move || render_metrics(&handle, &handshakes))
            .with_field("handshakes", move || json!(pending.pending()))
            .with_field("closed_handshakes", move || {
                let closed = closed.closes().map(|(cause, count)| (cause.as_str(), count));
                json!(closed.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>())
            });
        Self { service, metrics }
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
        let mut http = http1::Builder::new();
        let served = http.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
        let served = served.serve_connection(TokioIo::new(socket), self.service);
        // A client with further requests connects again.
        if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, served).await {
            tracing::debug!(%client, %error, "admin connection failed");
        }
    }
}

fn render_metrics(metrics: &PrometheusHandle, handshakes: &Handshakes) -> String {
    gauge!("sigver_handshakes").set(handshakes.pending() as f64);
    for (cause, count) in handshakes.closes() {
        counter!("sigver_handshakes_closed_total", "cause" => cause.as_str()).absolute(count);
    }
    metrics.render()
}
