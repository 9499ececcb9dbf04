//! What an idle peer costs in resident memory, behind each adapter.

use std::process::ExitCode;

use crate::client::Socket;
use crate::process::Server;
use crate::server::Kind;

const LIMIT_KIB: f64 = 10.0;
/// What is needed once, however many peers there are, is there after so many.
const FIRST: u32 = 100;

pub(crate) async fn run(peers: u32) -> ExitCode {
    println!("resident memory of each of {peers} idle peers, in groups of two, admitted:");
    let mut fits = true;
    for kind in [Kind::Hyper, Kind::Axum, Kind::Warp] {
        let each = measure(&Server::start(kind, None).await, peers).await;
        println!("{:>8} {each:6.2} KiB", format!("{kind:?}").to_lowercase());
        fits &= each <= LIMIT_KIB;
    }
    if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// KiB for each of so many peers.
pub(crate) async fn measure(server: &Server, peers: u32) -> f64 {
    let first = open(server, 0..FIRST).await;
    let before = server.resident();
    let rest = open(server, FIRST..FIRST + peers).await;
    let each = (server.resident() - before) / f64::from(peers);
    drop((first, rest));
    each
}

/// Peers that have been admitted and say nothing more.
async fn open(server: &Server, ids: std::ops::Range<u32>) -> Vec<Socket> {
    let mut peers = Vec::new();
    for id in ids {
        let mut peer = Socket::open(&server.target, &(id / 2).to_string()).await;
        if !server.target.bare {
            assert!(peer.ask(id, &[id ^ 1]).await);
        }
        peers.push(peer);
    }
    peers
}
