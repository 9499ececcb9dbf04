//! A hyper server with signaling at `/signal/KEY` and `/signal?key=KEY`, and a demo page at `/`.
//!
//! Run it with: `cargo run --features hyper --example hyper [HOST:PORT]`

#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sigver::SignalingHub;
use sigver::hyper::ConnectionLimiter;
use tokio::net::TcpListener;

#[path = "web/files.rs"]
mod files;

/// Must be shorter than the time after which the service manager kills the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".into());
    // In production, restrict the origins: `SignalingHub::builder().allowed_origins(["https://app.example"]).build()?`
    let hub = SignalingHub::new();
    let signal = sigver::hyper::service(hub.clone()).at("/signal");

    let listener = TcpListener::bind(&address).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let shutdown = async {
        shutdown_signal().await?;
        // New peers get 503 meanwhile.
        let remaining = hub.drain(DRAIN_TIMEOUT).await;
        println!("{remaining} peers did not complete the close handshake in time");
        Ok(())
    };
    tokio::select! {
        () = serve(listener, signal) => Ok(()),
        result = shutdown => result,
    }
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

async fn serve(listener: TcpListener, signal: sigver::hyper::Service) {
    // Closes connections that send no request within 10 s, and the oldest of them if there are too many.
    let limiter = ConnectionLimiter::new();
    loop {
        // The limiter also tells the hub the client IP, for its limits per IP.
        let (socket, _client, connection) = limiter.accept_from(|| listener.accept()).await;
        let signal = signal.clone();
        let service = connection.service(service_fn(move |request| respond(request, signal.clone())));
        tokio::spawn(connection.run(async move {
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades();
            if let Err(error) = served.await {
                eprintln!("connection failed: {error}");
            }
        }));
    }
}

async fn respond(
    request: Request<Incoming>,
    signal: sigver::hyper::Service,
) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/hello" => Ok(text("text/plain", "Hello from hyper\n")),
        path => match files::file(path) {
            Some((content_type, file)) => Ok(text(content_type, file)),
            None => signal.call(request).await,
        },
    }
}

fn text(content_type: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
