//! A hyper server with signaling at `/signal/KEY` and `/signal?key=KEY`, and a page at `/` that uses it.
//!
//! `cargo run --features hyper --example hyper [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sigver::SignalingHub;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    let signal = sigver::hyper::service(SignalingHub::new()).at("/signal");

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let signal = signal.clone();
        let service = service_fn(move |request| answer(request, signal.clone()));
        tokio::spawn(async move {
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades();
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
