//! The servers that this program can run as.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use sigver::cluster::RedisBackplane;
use sigver::{Cause, ClusterConfig, SignalingHub};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;
use warp::Filter as _;

use crate::baseline;
use crate::client::Protocol;

/// A server of this program. The bare ones relay between the two connections of one path, without a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Hyper,
    Axum,
    Warp,
    BareHyper,
    BareAxum,
    BareWarp,
    /// As `bare-axum`, but sends a heartbeat every five seconds, from one timer per connection.
    BareHeartbeats,
    /// Echoes bytes over TCP.
    Echo,
}

impl Kind {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Hyper | Self::Axum | Self::Warp => Protocol::Sigver,
            Self::BareHyper | Self::BareAxum | Self::BareWarp | Self::BareHeartbeats => Protocol::WebSocket,
            Self::Echo => Protocol::Tcp,
        }
    }
}

/// The settings of a server with a hub.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Settings {
    /// Read buffer of each connection, in bytes
    #[arg(long)]
    pub(crate) read_buffer: Option<usize>,
    /// Time for a peer's first connect, in seconds
    #[arg(long)]
    pub(crate) first_connect_timeout: Option<u64>,
    /// Time for which a message may be queued for a peer, in seconds
    #[arg(long)]
    pub(crate) outbox_timeout: Option<u64>,
    /// Messages that a peer may send per second
    #[arg(long)]
    pub(crate) messages_per_second: Option<u32>,
    /// Payload bytes that a peer may send per second
    #[arg(long)]
    pub(crate) bytes_per_second: Option<u32>,
    /// URL of the engine of a cluster, which makes the hub one of its nodes [default: no cluster]
    #[arg(long)]
    pub(crate) cluster_url: Option<String>,
    /// Print the hub's counts every second
    #[arg(long)]
    pub(crate) stats: bool,
}

impl Settings {
    /// Returns the settings as command-line arguments.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        args.extend(self.read_buffer.map(|bytes| format!("--read-buffer={bytes}")));
        args.extend(self.first_connect_timeout.map(|seconds| format!("--first-connect-timeout={seconds}")));
        args.extend(self.outbox_timeout.map(|seconds| format!("--outbox-timeout={seconds}")));
        args.extend(self.messages_per_second.map(|rate| format!("--messages-per-second={rate}")));
        args.extend(self.bytes_per_second.map(|rate| format!("--bytes-per-second={rate}")));
        args.extend(self.cluster_url.as_ref().map(|url| format!("--cluster-url={url}")));
        args.extend(self.stats.then(|| "--stats".to_owned()));
        args
    }

    /// Creates the hub. Spawns its driver if it is a node of a cluster.
    fn hub(&self) -> SignalingHub {
        let mut builder = SignalingHub::builder();
        if let Some(bytes) = self.read_buffer {
            builder = builder.read_buffer_bytes(bytes);
        }
        if let Some(seconds) = self.first_connect_timeout {
            builder = builder.first_connect_timeout(Duration::from_secs(seconds));
        }
        if let Some(rate) = self.messages_per_second {
            builder = builder.messages_per_second(rate);
        }
        if let Some(rate) = self.bytes_per_second {
            builder = builder.bytes_per_second(rate);
        }
        if let Some(seconds) = self.outbox_timeout {
            builder = builder.outbox_timeout(Duration::from_secs(seconds));
        }
        let Some(url) = &self.cluster_url else { return builder.build().expect("the settings are valid") };
        let backplane = RedisBackplane::builder(url, "load").build().expect("the URL is valid");
        let (hub, driver) = builder.build_cluster(ClusterConfig::new(backplane)).expect("the settings are valid");
        tokio::spawn(driver);
        hub
    }
}

/// Prints a line every second, which `process.rs` parses: `stats`, then `NAME=COUNT` pairs. Omits causes that did not
/// occur.
async fn print_stats(hub: SignalingHub) -> Infallible {
    let mut every = interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let stats = hub.stats();
        let mut line = format!("stats peers={} groups={} links={}", stats.peers, stats.groups, stats.links);
        for (name, counts) in [("rejections", stats.rejections), ("closes", stats.closes)] {
            for &cause in Cause::ALL {
                match counts.get(cause) {
                    0 => {}
                    count => write!(line, " {name}.{cause}={count}").expect("a string accepts every write"),
                }
            }
        }
        println!("{line}");
    }
}

/// Serves at a free port, and prints the address.
pub(crate) async fn serve(kind: Kind, settings: &Settings) -> Infallible {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("listening on {}", listener.local_addr().expect("a bound socket has an address"));
    let hub = settings.hub();
    if settings.stats {
        tokio::spawn(print_stats(hub.clone()));
    }
    match kind {
        Kind::Axum => {
            let app = axum::Router::new().nest_service("/signal", sigver::axum::router(hub));
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, app).await.expect("the server does not fail");
        }
        Kind::BareAxum => axum::serve(listener, baseline::axum()).await.expect("the server does not fail"),
        Kind::BareHeartbeats => axum::serve(listener, baseline::heartbeats()).await.expect("the server does not fail"),
        Kind::Warp => {
            warp::serve(warp::path("signal").and(sigver::warp::filter(hub))).incoming(listener).run().await;
        }
        Kind::BareWarp => warp::serve(baseline::warp()).incoming(listener).run().await,
        Kind::Hyper => {
            let service = sigver::hyper::service(hub).at("/signal");
            serve_each(listener, |socket, client| {
                let service = service.with_client_addr(client);
                http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades()
            })
            .await;
        }
        Kind::BareHyper => {
            let service = baseline::hyper();
            serve_each(listener, |socket, _| {
                http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()).with_upgrades()
            })
            .await;
        }
        Kind::Echo => {
            serve_each(listener, async |mut socket: TcpStream, _| {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            })
            .await;
        }
    }
    unreachable!("a server runs until it is killed")
}

/// Runs a task per connection. The load checks how each connection ends.
async fn serve_each<F>(listener: TcpListener, serve: impl Fn(TcpStream, SocketAddr) -> F) -> Infallible
where
    F: Future<Output: Send> + Send + 'static,
{
    loop {
        let (socket, client) = listener.accept().await.expect("the listener accepts");
        tokio::spawn(serve(socket, client));
    }
}
