//! An axum app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a page at `/` that uses it.
//!
//! `cargo run --features axum --example axum [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use sigver::SignalingHub;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

/// A little less than whoever stops the server waits before it kills it.
const DRAIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let hub = SignalingHub::new();
    let stop = {
        let hub = hub.clone();
        async move {
            if let Err(error) = ctrl_c().await {
                eprintln!("no stop by Ctrl-C: {error}");
                std::future::pending::<()>().await;
            }
            // axum's graceful shutdown knows of no upgraded sockets. Newcomers get 503 meanwhile.
            let left = hub.drain(DRAIN).await;
            println!("{left} peers did not say goodbye in time");
        }
    };
    let app = Router::new()
        .route("/", get(Html(include_str!("web/index.html"))))
        .route("/sigver.js", get(([(CONTENT_TYPE, "text/javascript")], include_str!("web/sigver.js"))))
        .route("/hello", get("Hello from axum\n"))
        .nest_service("/signal", sigver::axum::router(hub));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    // With the addresses of peers, so that the hub's limits count by them.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}
