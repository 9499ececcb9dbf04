//! An axum app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a demo page at `/`.
//!
//! Run it with: `cargo run --features axum --example axum [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use sigver::SignalingHub;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

/// Must be shorter than the time after which the service manager kills the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    // In production, restrict the origins: `SignalingHub::builder().allowed_origins(["https://app.example"]).build()?`
    let hub = SignalingHub::new();
    let app = Router::new()
        .route("/", get(Html(include_str!("web/index.html"))))
        .route("/sigver.js", get(([(CONTENT_TYPE, "text/javascript")], include_str!("web/sigver.js"))))
        .route("/hello", get("Hello from axum\n"))
        .nest_service("/signal", sigver::axum::router(hub.clone()));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    // The hub needs the clients' addresses for its limits per IP.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(drain_on_ctrl_c(hub)).await
}

/// Drains the hub after Ctrl-C: axum's graceful shutdown does not wait for WebSockets. New peers get 503 meanwhile.
async fn drain_on_ctrl_c(hub: SignalingHub) {
    if let Err(error) = ctrl_c().await {
        eprintln!("cannot listen for Ctrl-C: {error}");
        std::future::pending::<()>().await;
    }
    let remaining = hub.drain(DRAIN_TIMEOUT).await;
    println!("{remaining} peers did not complete the close handshake in time");
}
