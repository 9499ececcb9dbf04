//! A warp app with signaling at `/signal/KEY` and `/signal?key=KEY`, and a page at `/` that uses it.
//!
//! `cargo run --features warp --example warp [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use sigver::SignalingHub;
use tokio::net::TcpListener;
use warp::Filter as _;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let hub = SignalingHub::new();
    let page = warp::path::end().map(|| warp::reply::html(include_str!("web/index.html")));
    let script = warp::path!("sigver.js")
        .map(|| warp::reply::with_header(include_str!("web/sigver.js"), "content-type", "text/javascript"));
    let hello = warp::path!("hello").map(|| "Hello from warp\n");
    let signal = warp::path("signal").and(sigver::warp::filter(hub));

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    warp::serve(page.or(script).or(hello).or(signal)).incoming(listener).run().await;
    Ok(())
}
