//! A warp app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a demo page at `/`.
//!
//! Run it with: `cargo run --features warp --example warp [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::io;
use std::time::Duration;

use sigver::SignalingHub;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use warp::Filter as _;
use warp::path::FullPath;

#[path = "web/files.rs"]
mod files;

/// [`DRAIN_TIMEOUT`] and [`REQUEST_TIMEOUT`] must together be shorter than the time after which the service manager kills
/// the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for HTTP requests that are unfinished after the drain. warp waits for them without a limit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    // In production, restrict the origins: `SignalingHub::builder().allowed_origins(["https://app.example"]).build()?`
    let hub = SignalingHub::new();
    let page = warp::path::full().and_then(file);
    let hello = warp::path!("hello").map(|| "Hello from warp\n");
    let signal = warp::path("signal").and(sigver::warp::filter(hub.clone()));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let app = page.or(hello).or(signal);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(warp::serve(app).incoming(listener).graceful(async { _ = stopped.await }).run());

    shutdown_signal().await?;
    // New peers get 503 meanwhile.
    let remaining = hub.drain(DRAIN_TIMEOUT).await;
    println!("{remaining} peers did not complete the close handshake in time");
    _ = stop.send(());
    match timeout(REQUEST_TIMEOUT, server).await {
        Ok(finished) => Ok(finished?),
        Err(_) => Ok(()), // the end of the process cuts off the unfinished requests
    }
}

/// Serves the page and its files.
async fn file(path: FullPath) -> Result<impl warp::Reply, warp::Rejection> {
    let (content_type, text) = files::file(path.as_str()).ok_or_else(warp::reject::not_found)?;
    Ok(warp::reply::with_header(text, "content-type", content_type))
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
