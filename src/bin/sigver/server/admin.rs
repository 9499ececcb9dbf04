//! The admin listener: the hub's admin service, with metrics and what is known of handshakes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use sigver::SignalingHub;
use sigver::hyper::{AdminService, ConnectionLimiter};
use tokio::time::{MissedTickBehavior, interval};

use super::handshakes::Handshakes;
use super::listener::{Listener, Stream};

/// The time for all requests of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The interval at which the exporter aggregates the recorded histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The admin service of one hub.
#[derive(Clone)]
pub(super) struct Admin {
    service: AdminService,
    metrics: PrometheusHandle,
    limiter: ConnectionLimiter,
}

impl Admin {
    /// Creates the service for the setting `admin`, `HOST:PORT`.
    pub(super) fn new(
        address: &str,
        hub: SignalingHub,
        handshakes: Arc<Handshakes>,
        metrics: PrometheusHandle,
        max_connections: usize,
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
        // The service does not count its requests, so the idle timeout is the time for all requests of a connection.
        let limiter = ConnectionLimiter::builder()
            .name("admin")
            .max_handshakes(max_connections)
            .max_handshakes_per_ip(max_connections)
            .idle_timeout(CONNECTION_TIMEOUT)
            .build()
            .expect("the maximum is at least 1");
        Self { service, metrics, limiter }
    }

    /// Serves until it is dropped. A connection over the maximum closes the oldest one.
    pub(super) async fn serve(&self, listener: &Listener) -> Infallible {
        let accept = async {
            loop {
                let (socket, client, connection) = self.limiter.accept_from(|| listener.accept()).await;
                tokio::spawn(connection.run(serve_connection(socket, client, self.service.clone())));
            }
        };
        let aggregate = async {
            let mut upkeep = interval(UPKEEP_INTERVAL);
            upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                upkeep.tick().await;
                self.metrics.run_upkeep();
            }
        };
        tokio::select! {
            never = accept => never,
            never = aggregate => never,
        }
    }

    /// Logs the failed accepts and closed connections that are not logged yet, before the server ends.
    pub(super) fn flush_log(&self) {
        self.limiter.flush_log();
    }
}

/// Serves a connection. A client whose connection is closed after [`CONNECTION_TIMEOUT`] connects again.
async fn serve_connection(socket: Stream, client: SocketAddr, service: AdminService) {
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await {
        tracing::debug!(%client, %error, "admin connection failed");
    }
}

fn render_metrics(metrics: &PrometheusHandle, handshakes: &Handshakes) -> String {
    gauge!("sigver_handshakes").set(handshakes.pending() as f64);
    for (cause, count) in handshakes.closes() {
        counter!("sigver_handshakes_closed_total", "cause" => cause.as_str()).absolute(count);
    }
    metrics.render()
}
