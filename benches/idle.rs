//! What an idle peer costs in resident memory, behind each adapter: `cargo bench --features full --bench idle [PEERS]`.
//!
//! The server runs in a process of its own, so that the peers' ends of the sockets do not count. More than the limit is
//! a failure. Needs Linux's `/proc` and two open files for each peer in all.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{ExitCode, Stdio};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use sigver::memory::Client;
use sigver::{SignalingHub, Transport};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use warp::Filter as _;

const ADAPTERS: [&str; 3] = ["hyper", "axum", "warp"];
const PEERS: u32 = 5000;
const LIMIT_KIB: f64 = 10.0;

#[tokio::main]
async fn main() -> ExitCode {
    // cargo adds options of its own, such as `--bench`.
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", adapter] => match serve(adapter).await {},
        [] => measure(PEERS).await,
        [peers] => measure(peers.parse().expect("PEERS is a number")).await,
        _ => panic!("expected no argument or PEERS, not {args:?}"),
    }
}

async fn measure(peers: u32) -> ExitCode {
    println!("resident memory of each of {peers} idle peers, in groups of two, admitted:");
    let mut fits = true;
    for adapter in ADAPTERS {
        let mut server = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["serve", adapter])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let output = server.stdout.take().expect("it is piped");
        let line = BufReader::new(output).lines().next_line().await.expect("it can be read").expect("it says a line");
        let address = line.parse().expect("an address");
        let pid = server.id().expect("it runs");

        // What is needed once, however many peers there are, is there after the first few.
        let first = open(address, 0..100).await;
        let before = resident_kib(pid);
        let rest = open(address, 100..100 + peers).await;
        let each = (resident_kib(pid) - before) / f64::from(peers);
        println!("{adapter:>8} {each:6.2} KiB");
        fits &= each <= LIMIT_KIB;
        drop((first, rest));
    }
    if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Peers that have been admitted and say nothing more.
async fn open(address: SocketAddr, ids: std::ops::Range<u32>) -> Vec<Client<impl Transport + Unpin>> {
    let mut peers = Vec::new();
    for id in ids {
        let socket = TcpStream::connect(address).await.expect("the server listens, and there are files enough");
        let config = WebSocketConfig::default().read_buffer_size(512);
        let url = format!("ws://localhost/signal/{}", id / 2);
        let (stream, _) =
            tokio_tungstenite::client_async_with_config(url, socket, Some(config)).await.expect("a handshake");
        let mut peer = Client::new(sigver::hyper::transport(stream));
        assert!(peer.ask(id, &[id ^ 1]).await);
        peers.push(peer);
    }
    peers
}

fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

async fn serve(adapter: &str) -> Infallible {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("a bound socket has an address"));
    let hub = SignalingHub::new();
    match adapter {
        "axum" => {
            let app = axum::Router::new().nest("/signal", sigver::axum::router(hub));
            axum::serve(listener, app).await.expect("it serves");
        }
        "warp" => warp::serve(warp::path("signal").and(sigver::warp::filter(hub))).incoming(listener).run().await,
        _ => {
            let service = sigver::hyper::service(hub).at("/signal");
            loop {
                let (socket, _) = listener.accept().await.expect("it accepts");
                let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
                tokio::spawn(served.with_upgrades());
            }
        }
    }
    unreachable!("a server serves until it is killed")
}
