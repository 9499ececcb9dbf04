//! The server: it accepts connections until a signal shuts it down.

mod admin;
mod handshakes;
mod listener;
mod public;
mod reload;
mod socket;
#[cfg(unix)]
mod unix_socket;

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use sigver::SignalingHub;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::certificate::Certificate;
use crate::config::{AdminConfig, Config, ListenAddress};
use crate::descriptors::Descriptors;
use crate::service_manager::ServiceManager;
use crate::signals::{ReloadSignal, ShutdownSignal, ShutdownSignals};
use admin::Admin;
use handshakes::Handshakes;
use listener::Listener;
use public::PublicService;
use reload::reload;
use socket::Socket;

/// The time for a TLS handshake, and again for the head of the HTTP request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time from the TLS handshake to the WebSocket upgrade.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);
/// Room for a percent-encoded key of 512 bytes and a browser's cookies.
const MAX_REQUEST_HEAD_BYTES: usize = 32 * 1024;

/// Serves until a shutdown signal arrives, then closes all peers with 1001.
pub(crate) async fn run(config: Config, descriptors: Descriptors) -> Result<(), Error> {
    let Config { address, has_client_ips, certificate, turn_secrets, drain_timeout, .. } = config;
    let Config { lowered_limits, handshakes, hub, cluster, admin, .. } = config;
    let mut shutdown_signals = ShutdownSignals::listen().map_err(Error::Signals)?;
    let reload_signal = ReloadSignal::listen().map_err(Error::Signals)?;
    let (address, listener) = Listener::bind(&address).await.map_err(|error| Error::Bind { address, error })?;
    // The parent process may have closed the output and still want the server to run.
    let _ = writeln!(io::stdout(), "Signaling server is listening on {address}");

    let handshakes = Arc::new(Handshakes::new(handshakes, descriptors));
    let admin = match admin {
        Some(admin) => Some(bind_admin(admin, hub.clone(), handshakes.clone(), descriptors).await?),
        None => None,
    };
    if let Some(lowered) = lowered_limits {
        lowered.warn();
    }
    if !has_client_ips {
        tracing::warn!(
            "client IPs are unknown because the host is a Unix socket, so limits per IP do not apply; set \
             client_ip_header to the header in which the proxy reports them"
        );
    }
    // After the listeners: a server that cannot listen is in no cluster.
    let driver = cluster.map(tokio::spawn);
    let manager = ServiceManager::from_environment();
    manager.ready(&address);
    let service = PublicService::new(hub.clone(), has_client_ips);
    let tls = certificate.as_ref().map(Certificate::acceptor);
    // All parts run until the shutdown has finished, so that clients that join meanwhile get a rejection.
    tokio::select! {
        never = serve_all(&listener, &handshakes, &service, tls) => match never {},
        never = serve_admin(admin.as_ref()) => match never {},
        never = reload(certificate, turn_secrets, reload_signal) => match never {},
        never = watch_driver(driver) => match never {},
        never = manager.notify_watchdog() => match never {},
        () = shut_down(&hub, drain_timeout, &mut shutdown_signals, &manager) => {}
    }
    handshakes.flush_log();
    if let Some((_, admin)) = &admin {
        admin.flush_log();
    }
    Ok(())
}

/// Waits for a signal and closes all peers. After SIGTERM the closes are spread over `drain_timeout`, unless a second
/// signal arrives.
async fn shut_down(
    hub: &SignalingHub,
    drain_timeout: Duration,
    signals: &mut ShutdownSignals,
    manager: &ServiceManager,
) {
    let signal = signals.recv().await;
    manager.stopping(hub.stats().peers, drain_timeout);
    tracing::info!(%signal, peers = hub.stats().peers, "shutting down");
    if signal == ShutdownSignal::Terminate {
        tokio::select! {
            remaining = hub.drain(drain_timeout) => tracing::info!(remaining, "drain finished"),
            signal = signals.recv() => {
                tracing::info!(%signal, remaining = hub.stats().peers, "drain interrupted by a second signal");
            }
        }
    }
    // After a drain too: the remaining peers may still complete their close handshakes.
    hub.shutdown().await;
}

/// Waits for the end of the driver of a cluster, which is a bug. The server keeps its peers, but is not ready.
async fn watch_driver(driver: Option<JoinHandle<()>>) -> Infallible {
    if let Some(driver) = driver {
        let error = driver.await.err().map(|error| error.to_string());
        tracing::error!(error, "disconnected from the cluster because of a bug; restart the server");
    }
    pending().await
}

async fn bind_admin(
    config: AdminConfig,
    hub: SignalingHub,
    handshakes: Arc<Handshakes>,
    descriptors: Descriptors,
) -> Result<(Listener, Admin), Error> {
    let AdminConfig { address, metrics } = config;
    let (local_address, listener) = match Listener::bind_tcp(&address).await {
        Ok(bound) => bound,
        Err(error) => return Err(Error::BindAdmin { address, error }),
    };
    let _ = writeln!(io::stdout(), "Admin server is listening on {local_address}");
    Ok((listener, Admin::new(&address, hub, handshakes, metrics, descriptors.max_admin_connections())))
}

async fn serve_admin(admin: Option<&(Listener, Admin)>) -> Infallible {
    match admin {
        Some((listener, admin)) => admin.serve(listener).await,
        None => pending().await,
    }
}

async fn serve_all(
    listener: &Listener,
    handshakes: &Handshakes,
    service: &PublicService,
    tls: Option<watch::Receiver<TlsAcceptor>>,
) -> Infallible {
    loop {
        let (socket, client, connection) = handshakes.accept(listener).await;
        let tls = tls.as_ref().map(|tls| tls.borrow().clone());
        let served = serve_connection(socket, client, tls, service.with_client_addr(client));
        tokio::spawn(connection.run(served));
    }
}

/// Serves a connection until the hub owns its upgraded socket, or until it ends.
async fn serve_connection(socket: Socket, client: SocketAddr, tls: Option<TlsAcceptor>, service: PublicService) {
    if let Err(error) = socket.set_nodelay() {
        tracing::debug!(%client, %error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else { return serve_http(socket, client, service).await };
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await {
        Ok(Ok(socket)) => serve_http(socket, client, service).await,
        Ok(Err(error)) => tracing::debug!(%client, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%client, "TLS handshake timed out"),
    }
}

async fn serve_http(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    client: SocketAddr,
    service: PublicService,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(MAX_REQUEST_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    // The future ends with the upgrade. Without the timeout, a client that never reads its responses stays forever.
    match timeout(HTTP_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "HTTP connection failed"),
        Err(_) => tracing::debug!(%client, "no WebSocket upgrade within 60s"),
    }
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen on {address}: {error}")]
    Bind { address: ListenAddress, error: io::Error },
    #[error("cannot listen on the admin address {address}: {error}")]
    BindAdmin { address: String, error: io::Error },
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connection_without_upgrade_is_closed_after_http_timeout() {
        let (mut client, server) = duplex(1024);
        let start = Instant::now();
        let service = PublicService::new(SignalingHub::new(), true);
        let served = tokio::spawn(serve_http(server, SocketAddr::from(([192, 0, 2, 1], 1)), service));
        // The client sends requests as fast as the server reads them, and reads no response.
        let requests =
            async { while client.write_all(b"GET /key HTTP/1.1\r\nHost: hub.example\r\n\r\n").await.is_ok() {} };
        timeout(2 * HTTP_TIMEOUT, requests).await.expect("the server closes the connection");
        served.await.expect("the task does not panic");
        assert_eq!(start.elapsed().as_secs(), HTTP_TIMEOUT.as_secs());
    }
}
