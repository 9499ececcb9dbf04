//! An axum app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a demo page at `/`.
//!
//! Run it with: `cargo run --features axum --example axum [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use sigver::SignalingHub;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

#[path = "web/files.rs"]
mod files;

/// [`DRAIN_TIMEOUT`] and [`REQUEST_TIMEOUT`] must together be shorter than the time after which the service manager kills
/// the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for HTTP requests that are unfinished after the drain. axum waits for them without a limit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    // In production, restrict the origins: `SignalingHub::builder().allowed_origins(["https://app.example"]).build()?`
    let hub = SignalingHub::new();
    let app = Router::new()
        .route("/hello", get("Hello from axum\n"))
        .nest_service("/signal", sigver::axum::router(hub.clone()))
        .fallback(get(file));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    // The hub needs the clients' addresses for its limits per IP.
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async { _ = stopped.await });
    let server = tokio::spawn(server.into_future());

    shutdown_signal().await?;
    // New peers get 503 meanwhile.
    let remaining = hub.drain(DRAIN_TIMEOUT).await;
    println!("{remaining} peers did not complete the close handshake in time");
    _ = stop.send(());
    match timeout(REQUEST_TIMEOUT, server).await {
        Ok(finished) => finished?,
        Err(_) => Ok(()), // the end of the process cuts off the unfinished requests
    }
}

/// Serves the page and its files.
async fn file(uri: Uri) -> impl IntoResponse {
    let (content_type, text) = files::file(uri.path()).ok_or(StatusCode::NOT_FOUND)?;
    Ok::<_, StatusCode>(([(CONTENT_TYPE, content_type)], text))
}

/// Completes on Ctrl-C, or on SIGTERM from a service manager.
async fn shutdown_signal() -> io::Result<()> {
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())?.recv().await;
        Ok(())
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending();
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        result = terminate => result,
    }
}
