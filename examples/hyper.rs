//! A hyper server with signaling at `/signal/KEY` and `/signal?key=KEY`, and a page at `/` that uses it.
//!
//! `cargo run --features hyper --example hyper [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use sigver::SignalingHub;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

/// A little less than whoever stops the server waits before it kills it.
const DRAIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let hub = SignalingHub::new();
    let signal = sigver::hyper::service(hub.clone()).at("/signal");

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let stop = async {
        ctrl_c().await?;
        // Newcomers get 503 meanwhile.
        let left = hub.drain(DRAIN).await;
        println!("{left} peers did not say goodbye in time");
        Ok(())
    };
    tokio::select! {
        failed = serve(listener, signal) => failed,
        stopped = stop => stopped,
    }
}

async fn serve(listener: TcpListener, signal: sigver::hyper::Service) -> std::io::Result<()> {
    loop {
        let (socket, client) = listener.accept().await?;
        // With the addresses of peers, so that the hub's limits count by them.
        let signal = signal.with_client_addr(client);
        let service = service_fn(move |request| answer(request, signal.clone()));
        tokio::spawn(async move {
            // With a timer hyper gives nobody more than 30 s for the head of a request.
            let mut http = http1::Builder::new();
            let served = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).with_upgrades();
            if let Err(error) = served.await {
                eprintln!("{error}");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    signal: sigver::hyper::Service,
) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/" => Ok(text("text/html; charset=utf-8", include_str!("web/index.html"))),
        "/sigver.js" => Ok(text("text/javascript", include_str!("web/sigver.js"))),
        "/hello" => Ok(text("text/plain", "Hello from hyper\n")),
        _ => signal.call(request).await,
    }
}

fn text(kind: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
