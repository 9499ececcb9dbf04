//! The servers that this program can be.

use std::convert::Infallible;

use clap::ValueEnum;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use sigver::SignalingHub;
use tokio::net::{TcpListener, TcpStream};
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

/// Serves at a free port, and says at which.
pub(crate) async fn serve(kind: Kind, read_buffer: Option<usize>) -> Infallible {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("listening on {}", listener.local_addr().expect("a bound socket has an address"));
    let builder = SignalingHub::builder();
    let hub = match read_buffer {
        Some(bytes) => builder.read_buffer_bytes(bytes).build().expect("a sound size"),
        None => builder.build().expect("the defaults are sound"),
    };
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
