//! An app behind a limiter, over pipes in memory, and what its clients do.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use axum::routing::{any, get, post};
use futures::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sigver::SignalingHub;
use sigver::hyper::ConnectionLimiter;
use sigver::hyper::limiter::{CloseCause, Connection, ConnectionHandle, ConnectionLimiterBuilder};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// The size of `/large`, in one chunk.
pub(crate) const LARGE: usize = 1024 * 1024;
/// The time of `/slow`, and of `/events`, which sends an event every 20 s.
pub(crate) const SLOW: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) limiter: ConnectionLimiter,
    pub(crate) hub: SignalingHub,
    app: Router,
}

impl Server {
    pub(crate) fn new(limiter: ConnectionLimiterBuilder) -> Self {
        Self::with_hub(limiter, SignalingHub::new())
    }

    pub(crate) fn with_hub(limiter: ConnectionLimiterBuilder, hub: SignalingHub) -> Self {
        let events = || {
            let events = stream::unfold(0, async |nth| {
                sleep(SLOW / 3).await;
                (nth < 3).then(|| (Ok::<_, Infallible>(format!("data: {nth}\n\n")), nth + 1))
            });
            Body::from_stream(events)
        };
        let app = Router::new()
            .route("/", get("hello"))
            .route("/large", get(vec![7; LARGE]))
            .route("/slow", get(async || sleep(SLOW).await))
            .route("/events", get(async move || events()))
            .route("/upload", post(async |body: Bytes| body.len().to_string()).layer(DefaultBodyLimit::disable()))
            .route("/chat", any(chat))
            .nest_service("/signal", sigver::axum::router(hub.clone()));
        Self { limiter: limiter.build().expect("valid settings"), hub, app }
    }

    /// Serves a connection from `192.0.2.LAST`, and returns the client's end.
    pub(crate) fn connect_from(&self, last: u8) -> DuplexStream {
        let (there, here) = duplex(16 * 1024);
        self.serve([192, 0, 2, last].into(), there);
        here
    }

    /// Serves a connection of this client.
    pub(crate) fn serve(&self, client: IpAddr, socket: DuplexStream) -> JoinHandle<()> {
        self.spawn(self.limiter.accept(client), socket)
    }

    /// Accepts and serves connections over TCP.
    pub(crate) async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (socket, _, connection) = self.limiter.accept_from(|| listener.accept()).await;
            self.spawn(connection, socket);
        }
    }

    fn spawn<S>(&self, connection: Connection, socket: S) -> JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = connection.service(TowerToHyperService::new(self.app.clone()));
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http2().enable_connect_protocol();
        let served =
            connection.run(async move { http.serve_connection_with_upgrades(TokioIo::new(socket), service).await });
        tokio::spawn(async move {
            // The client's end shows how the connection ends.
            let _: Option<Result<(), _>> = served.await;
        })
    }

    /// Returns the number of idle and of busy connections.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.limiter.handshakes(), self.limiter.busy_connections())
    }

    /// Waits until the numbers of idle and of busy connections are these.
    pub(crate) async fn wait_for_counts(&self, expected: (usize, usize)) {
        let reached = async {
            while self.counts() != expected {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), reached).await.unwrap_or_else(|_| panic!("{:?}", self.limiter));
    }

    /// Returns the causes of all closes.
    pub(crate) fn closes(&self) -> Vec<(&'static str, u64)> {
        let counts = CloseCause::ALL.iter().map(|&cause| (cause.as_str(), self.limiter.closes(cause)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// Opens a tunnel that the app serves itself, and that ends when the client ends it.
async fn chat(mut request: Request) -> Response {
    let kept = request.extensions().get().map(ConnectionHandle::keep_open);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut socket = TokioIo::new(upgrade.await.expect("an upgrade"));
        let read = socket.read_to_end(&mut Vec::new()).await;
        drop((socket, read, kept));
    });
    Response::new(Body::empty())
}

/// Reads until the server closes the connection. Returns what it read, and the time in seconds.
pub(crate) async fn read_until_close(socket: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, u64) {
    let start = Instant::now();
    let mut response = Vec::new();
    let read = timeout(Duration::from_secs(3600), socket.read_to_end(&mut response)).await;
    read.expect("the server closes the connection").expect("the connection is not reset");
    (response, start.elapsed().as_secs())
}

/// Reads the head of a response, and a body of this length.
pub(crate) async fn read_response(socket: &mut (impl AsyncRead + Unpin), body_len: usize) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("the server answers"));
    }
    let mut body = vec![0; body_len];
    socket.read_exact(&mut body).await.expect("a complete body");
    (String::from_utf8(head).expect("the head is text"), body)
}
