//! An axum app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a page at `/` that uses it.
//!
//! `cargo run --features axum --example axum [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use sigver::SignalingHub;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let hub = SignalingHub::new();
    let app = Router::new()
        .route("/", get(Html(include_str!("web/index.html"))))
        .route("/sigver.js", get(([(CONTENT_TYPE, "text/javascript")], include_str!("web/sigver.js"))))
        .route("/hello", get("Hello from axum\n"))
        .nest_service("/signal", sigver::axum::router(hub));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
