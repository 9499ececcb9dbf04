//! The servers that this program can be.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use sigver::{Cause, SignalingHub};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;
use warp::Filter as _;

use crate::bare;
use crate::client::Speaks;

/// Which server. The bare ones relay between two sockets of one path and know no protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Hyper,
    Axum,
    Warp,
    BareHyper,
    BareAxum,
    BareWarp,
    /// As `bare-axum`, with a heartbeat every five seconds from a timer for each socket.
    BareBeating,
    /// Sends back what comes, over TCP without anything on top.
    Echo,
}

impl Kind {
    pub(crate) fn speaks(self) -> Speaks {
        match self {
            Self::Hyper | Self::Axum | Self::Warp => Speaks::Sigver,
            Self::BareHyper | Self::BareAxum | Self::BareWarp | Self::BareBeating => Speaks::WebSocket,
            Self::Echo => Speaks::Tcp,
        }
    }
}

/// What a server of this crate's adapters is told.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Settings {
    /// The read buffer of each socket, in bytes
    #[arg(long)]
    pub(crate) read_buffer: Option<usize>,
    /// How many seconds a peer has for its first connect
    #[arg(long)]
    pub(crate) first_connect_timeout: Option<u64>,
    /// How many seconds a socket may take nothing
    #[arg(long)]
    pub(crate) outbox_timeout: Option<u64>,
    /// How many messages a peer may send in a second
    #[arg(long)]
    pub(crate) messages_per_second: Option<u32>,
    /// Says every second how many there are of what
    #[arg(long)]
    pub(crate) stats: bool,
}

impl Settings {
    /// As arguments.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        args.extend(self.read_buffer.map(|bytes| format!("--read-buffer={bytes}")));
        args.extend(self.first_connect_timeout.map(|seconds| format!("--first-connect-timeout={seconds}")));
        args.extend(self.outbox_timeout.map(|seconds| format!("--outbox-timeout={seconds}")));
        args.extend(self.messages_per_second.map(|rate| format!("--messages-per-second={rate}")));
        args.extend(self.stats.then(|| "--stats".to_owned()));
        args
    }

    fn hub(&self) -> SignalingHub {
        // All of a load comes from this machine, in the thousands: more than one address may.
        let mut builder = SignalingHub::builder().max_peers_per_ip(usize::MAX).joins_per_second_per_ip(u32::MAX);
        if let Some(bytes) = self.read_buffer {
            builder = builder.read_buffer_bytes(bytes);
        }
        if let Some(seconds) = self.first_connect_timeout {
            builder = builder.first_connect_timeout(Duration::from_secs(seconds));
        }
        if let Some(rate) = self.messages_per_second {
            builder = builder.messages_per_second(rate);
        }
        if let Some(seconds) = self.outbox_timeout {
            builder = builder.outbox_timeout(Duration::from_secs(seconds));
        }
        builder.build().expect("sound settings")
    }
}

/// Prints a line every second: `stats`, and then names with their numbers.
async fn say_stats(hub: SignalingHub) -> Infallible {
    let mut every = interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let stats = hub.stats();
        let mut line = format!("stats peers={} groups={} links={}", stats.peers, stats.groups, stats.links);
        for &cause in Cause::ALL {
            match stats.turned_away.by(cause) {
                0 => {}
                count => write!(line, " {cause}={count}").expect("a string takes all"),
            }
        }
        println!("{line}");
    }
}

/// Serves at a free port, and says at which.
pub(crate) async fn serve(kind: Kind, settings: &Settings) -> Infallible {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("listening on {}", listener.local_addr().expect("a bound socket has an address"));
    let hub = settings.hub();
    if settings.stats {
        tokio::spawn(say_stats(hub.clone()));
    }
    match kind {
        Kind::Axum => {
            let app = axum::Router::new().nest_service("/signal", sigver::axum::router(hub));
            axum::serve(listener, app).await.expect("it serves");
        }
        Kind::BareAxum => axum::serve(listener, bare::axum()).await.expect("it serves"),
        Kind::BareBeating => axum::serve(listener, bare::beating()).await.expect("it serves"),
        Kind::Warp => {
            warp::serve(warp::path("signal").and(sigver::warp::filter(hub))).incoming(listener).run().await;
        }
        Kind::BareWarp => warp::serve(bare::warp()).incoming(listener).run().await,
        Kind::Hyper => {
            let service = sigver::hyper::service(hub).at("/signal");
            each(listener, |socket| {
                let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                served.with_upgrades()
            })
            .await;
        }
        Kind::BareHyper => {
            let service = bare::hyper();
            each(listener, |socket| {
                let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                served.with_upgrades()
            })
            .await;
        }
        Kind::Echo => {
            each(listener, async |mut socket: TcpStream| {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            })
            .await;
        }
    }
    unreachable!("a server serves until it is killed")
}

/// A task for each connection. How it ends is for the load to see.
async fn each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Infallible
where
    F: Future<Output: Send> + Send + 'static,
{
    loop {
        let (socket, _) = listener.accept().await.expect("it accepts");
        tokio::spawn(serve(socket));
    }
}
