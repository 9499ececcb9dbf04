//! The listener and its connections.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use sigver::SignalingHub;
use sigver::hyper::Service;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::admin::Admin;
use crate::certificate::Certificate;
use crate::config::Config;
use crate::signals::{HangUps, Stop, Stops};

/// How long a connection has for its TLS handshake, and again for the head of its HTTP request.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may go on without becoming a WebSocket.
const HTTP_WITHIN: Duration = Duration::from_secs(60);
/// More than a key of 512 bytes, all of it escaped, and a browser's cookies.
const MAX_REQUEST_HEAD_BYTES: usize = 32 * 1024;
/// How long to wait when a connection cannot be accepted, which mostly means that there are no files left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Serves until a signal says to stop, and then closes all peers with 1001.
pub(crate) async fn run(config: Config) -> Result<(), Error> {
    let Config { host, port, certificate, drain, hub, admin } = config;
    let mut stops = Stops::listen().map_err(Error::Signals)?;
    let hang_ups = HangUps::listen().map_err(Error::Signals)?;
    let bound = async { TcpListener::bind((&*host, port)).await.and_then(|socket| Ok((socket.local_addr()?, socket))) };
    let (address, listener) = bound.await.map_err(|error| Error::Bind { host, port, error })?;
    // Whoever started the server may have closed its output and still want it to run.
    let _ = writeln!(io::stdout(), "Signaling server is listening on {address}");

    let admin = match admin {
        Some((address, admin)) => Some((bind_admin(&address).await?, admin)),
        None => None,
    };
    let service = sigver::hyper::service(hub.clone());
    let tls = certificate.as_ref().map(Certificate::acceptor);
    // Each part runs until the last one is over: who comes while the server leaves is told so.
    tokio::select! {
        never = serve_all(&listener, &service, tls) => match never {},
        never = serve_admin(admin) => match never {},
        never = renew(certificate, hang_ups) => match never {},
        () = leave(&hub, drain, &mut stops) => Ok(()),
    }
}

/// Waits for a signal and closes all peers: with SIGTERM spread over this time, unless a second signal comes.
async fn leave(hub: &SignalingHub, within: Duration, stops: &mut Stops) {
    let stop = stops.next().await;
    tracing::info!(signal = %stop, peers = hub.stats().peers, "closing all peers");
    if stop == Stop::Terminate {
        tokio::select! {
            left = hub.drain(within) => tracing::info!(left, "the drain is over"),
            stop = stops.next() => {
                tracing::info!(signal = %stop, left = hub.stats().peers, "the drain is cut short");
            }
        }
    }
    // After a drain too: who is left may still say goodbye.
    hub.shutdown().await;
}

async fn bind_admin(address: &str) -> Result<TcpListener, Error> {
    let bound = async { TcpListener::bind(address).await.and_then(|socket| Ok((socket.local_addr()?, socket))) };
    let (bound, listener) = bound.await.map_err(|error| Error::BindAdmin { address: address.to_owned(), error })?;
    let _ = writeln!(io::stdout(), "Admin server is listening on {bound}");
    Ok(listener)
}

async fn serve_admin(admin: Option<(TcpListener, Admin)>) -> Infallible {
    match admin {
        Some((listener, admin)) => admin.serve(listener).await,
        None => std::future::pending().await,
    }
}

async fn serve_all(listener: &TcpListener, service: &Service, tls: Option<watch::Receiver<TlsAcceptor>>) -> Infallible {
    loop {
        let (socket, peer) = accept(listener).await;
        let tls = tls.as_ref().map(|tls| tls.borrow().clone());
        tokio::spawn(connection(socket, peer, tls, service.with_client_addr(peer)));
    }
}

async fn renew(certificate: Option<Certificate>, mut hang_ups: HangUps) -> Infallible {
    if let Some(mut certificate) = certificate {
        return certificate.renew(&mut hang_ups).await;
    }
    loop {
        hang_ups.next().await;
        tracing::info!("there is no certificate to read again");
    }
}

/// The next connection, however long it takes until there are files for one.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, service: Service) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else { return serve(socket, peer, service).await };
    match timeout(HANDSHAKE_WITHIN, tls.accept(socket)).await {
        Ok(Ok(socket)) => serve(socket, peer, service).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: SocketAddr, service: Service) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_WITHIN)
        .max_buf_size(MAX_REQUEST_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    // It is over once the connection is a WebSocket. Who never reads its answers would else stay for ever.
    match timeout(HTTP_WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no HTTP"),
        Err(_) => tracing::debug!(%peer, "no WebSocket in time"),
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot listen on {host}:{port}: {error}")]
    Bind { host: String, port: u16, error: io::Error },
    #[error("cannot listen on {address}, as --admin says: {error}")]
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
    async fn a_connection_that_does_not_become_a_websocket_is_over_in_time() {
        let (mut client, server) = duplex(1024);
        let start = Instant::now();
        let service = sigver::hyper::service(SignalingHub::new());
        let served = tokio::spawn(serve(server, SocketAddr::from(([192, 0, 2, 1], 1)), service));
        // It asks again and again, as fast as it is read, and reads no answer.
        let asks = async { while client.write_all(b"GET /key HTTP/1.1\r\nHost: hub.example\r\n\r\n").await.is_ok() {} };
        timeout(2 * HTTP_WITHIN, asks).await.expect("it is hung up on");
        served.await.expect("it does not panic");
        assert_eq!(start.elapsed().as_secs(), HTTP_WITHIN.as_secs());
    }
}
