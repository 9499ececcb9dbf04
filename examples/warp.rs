//! A warp app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a demo page at `/`.
//!
//! Run it with: `cargo run --features warp --example warp [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::time::Duration;

use sigver::SignalingHub;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use warp::Filter as _;

/// Must be shorter than the time after which the service manager kills the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    // In production, restrict the origins: `SignalingHub::builder().allowed_origins(["https://app.example"]).build()?`
    let hub = SignalingHub::new();
    let page = warp::path::end().map(|| warp::reply::html(include_str!("web/index.html")));
    let script = warp::path!("sigver.js")
        .map(|| warp::reply::with_header(include_str!("web/sigver.js"), "content-type", "text/javascript"));
    let hello = warp::path!("hello").map(|| "Hello from warp\n");
    let signal = warp::path("signal").and(sigver::warp::filter(hub.clone()));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let app = page.or(script).or(hello).or(signal);
    warp::serve(app).incoming(listener).graceful(drain_on_ctrl_c(hub)).run().await;
    Ok(())
}

/// Drains the hub after Ctrl-C: warp's graceful shutdown does not wait for WebSockets. New peers get 503 meanwhile.
async fn drain_on_ctrl_c(hub: SignalingHub) {
    if let Err(error) = ctrl_c().await {
        eprintln!("cannot listen for Ctrl-C: {error}");
        std::future::pending::<()>().await;
    }
    let remaining = hub.drain(DRAIN_TIMEOUT).await;
    println!("{remaining} peers did not complete the close handshake in time");
}
