//! What a peer costs that is admitted and only answers heartbeats.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Socket, Speaks, frame};
use crate::process::Server;
use crate::server::{Kind, Settings};

const LIMIT_KIB: f64 = 8.0;
/// What is needed once, however many peers there are, is there after so many.
const FIRST: u32 = 100;

/// Prints what each adapter needs.
pub(crate) async fn run(peers: u32, read_buffer: Option<usize>) -> ExitCode {
    println!("resident memory of each of {peers} idle peers, in groups of two, admitted:");
    let settings = Settings { read_buffer, ..Settings::default() };
    let mut fits = true;
    for kind in [Kind::Hyper, Kind::Axum, Kind::Warp] {
        let each = memory(&Server::start(kind, &settings).await, peers).await;
        println!("{:>8} {each:6.2} KiB", format!("{kind:?}").to_lowercase());
        fits &= each <= LIMIT_KIB;
    }
    if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what heartbeats keep busy, in turn for five rounds.
pub(crate) async fn beats(peers: u32) {
    println!("part of a core that {peers} idle peers keep busy:");
    for _ in 0..5 {
        let time = Duration::from_secs(10);
        let ours = busy(&Server::start(Kind::Axum, &Settings::default()).await, peers, time).await;
        let timers = busy(&Server::start(Kind::BareBeating, &Settings::default()).await, peers, time).await;
        println!("    axum {ours:.4}  a timer for each socket {timers:.4}  ratio {:.2}", ours / timers);
    }
}

/// KiB for each of so many peers.
pub(crate) async fn memory(server: &Server, peers: u32) -> f64 {
    let first = open(server, 0..FIRST).await;
    let before = server.resident();
    let rest = open(server, FIRST..FIRST + peers).await;
    let each = (server.resident() - before) / f64::from(peers);
    drop((first, rest));
    each
}

/// The part of a core that so many peers keep busy, measured for so long.
pub(crate) async fn busy(server: &Server, peers: u32, time: Duration) -> f64 {
    let mut answering = JoinSet::new();
    for mut peer in open(server, 0..peers).await {
        answering.spawn(async move {
            let heartbeat = frame(&Message::HEARTBEAT);
            loop {
                peer.next().await;
                peer.write(&heartbeat).await;
            }
        });
    }
    let before = server.busy();
    sleep(time).await;
    (server.busy() - before).div_duration_f64(time)
}

async fn open(server: &Server, ids: Range<u32>) -> Vec<Socket> {
    let mut peers = Vec::new();
    for id in ids {
        let mut peer = Socket::open(&server.target, &(id / 2).to_string()).await;
        if server.target.speaks == Speaks::Sigver {
            assert!(peer.ask(id, &[id ^ 1]).await);
        }
        peers.push(peer);
    }
    peers
}
