//! The cost of an idle peer: a member that only answers heartbeats.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum as _;
use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Protocol, Socket, frame};
use crate::process::Server;
use crate::server::{Kind, Settings};

const LIMIT_KIB: f64 = 8.0;
/// Peers that open first, so that one-time allocations are not measured.
const WARM_UP_PEERS: u32 = 100;

/// Prints the memory per peer behind each adapter. Fails if it exceeds [`LIMIT_KIB`].
pub(crate) async fn run(peers: u32, read_buffer: Option<usize>) -> ExitCode {
    println!("resident memory per idle peer ({peers} members, in groups of two):");
    let settings = Settings { read_buffer, ..Settings::default() };
    let mut passed = true;
    for kind in [Kind::Hyper, Kind::Axum, Kind::Warp] {
        let per_peer = memory(&Server::start(kind, &settings).await, peers).await;
        let name = kind.to_possible_value().expect("no variant is skipped");
        println!("{:>8} {per_peer:6.2} KiB", name.get_name());
        passed &= per_peer <= LIMIT_KIB;
    }
    println!("{} (limit: {LIMIT_KIB} KiB)", if passed { "PASS" } else { "FAIL" });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the CPU use of heartbeats, sigver and one timer per connection in turn, for five rounds.
pub(crate) async fn heartbeats(peers: u32) {
    println!("CPU use of {peers} idle peers, in cores:");
    for _ in 0..5 {
        let time = Duration::from_secs(10);
        let ours = cpu_use(&Server::start(Kind::Axum, &Settings::default()).await, peers, time).await;
        let timers = cpu_use(&Server::start(Kind::BareHeartbeats, &Settings::default()).await, peers, time).await;
        println!("    axum {ours:.4}  one timer per connection {timers:.4}  ratio {:.2}", ours / timers);
    }
}

/// Returns the resident memory per peer, in KiB.
pub(crate) async fn memory(server: &Server, peers: u32) -> f64 {
    let first = open(server, 0..WARM_UP_PEERS).await;
    let before = server.resident();
    let rest = open(server, WARM_UP_PEERS..WARM_UP_PEERS + peers).await;
    let per_peer = (server.resident() - before) / f64::from(peers);
    drop((first, rest));
    per_peer
}

/// Returns the cores that the server uses for idle peers, measured over `time`.
pub(crate) async fn cpu_use(server: &Server, peers: u32, time: Duration) -> f64 {
    let mut answering = JoinSet::new();
    for mut peer in open(server, 0..peers).await {
        answering.spawn(async move {
            let heartbeat = frame(&Message::HEARTBEAT);
            loop {
                peer.expect_recv().await;
                peer.expect_send(&heartbeat).await;
            }
        });
    }
    let before = server.cpu_time();
    sleep(time).await;
    (server.cpu_time() - before).div_duration_f64(time)
}

async fn open(server: &Server, ids: Range<u32>) -> Vec<Socket> {
    let mut peers = Vec::new();
    for id in ids {
        let mut peer = Socket::open(&server.target, &(id / 2).to_string()).await;
        if server.target.protocol == Protocol::Sigver {
            assert!(peer.expect_connect(id, &[id ^ 1]).await);
        }
        peers.push(peer);
    }
    peers
}
