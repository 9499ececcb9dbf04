//! Silent TCP connections to the standalone server, while a well-behaved client connects again and again.

use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, timeout};

use super::attacker::Attacker;
use super::table::{Latencies, Row};
use super::{Args, SETTLE_TIME};
use crate::attacks::{NamedAttack, Report};
use crate::client::{End, Socket, Target};
use crate::process::Server;

/// The usual soft limit of file descriptors.
const DESCRIPTORS: u32 = 1024;
const TRIES: u32 = 10;
/// A try that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The tries during one attack.
struct Tries {
    /// Times to the answer to `connect`, in nanoseconds. A failed try counts with [`TIMEOUT`].
    times: Histogram<u64>,
    failed: u64,
    failed_health_checks: u64,
    peak: f64,
    report: Report,
}

pub(super) async fn measure(args: &Args) -> Row {
    let server = Server::standalone(DESCRIPTORS).await;
    let elsewhere = Server::standalone(DESCRIPTORS).await;
    let control = run_tries(args, &server, &elsewhere).await;
    let resident_before = server.resident() / 1024.0;
    let attacked = run_tries(args, &server, &server).await;
    println!("{}:", NamedAttack::SilentConnections.name());
    for (tries, name) in [(&control, "attack on another server"), (&attacked, "attack")] {
        let succeeded = [tries.failed, tries.failed_health_checks].map(|failed| u64::from(TRIES) - failed);
        println!(
            "  {name}: within {TIMEOUT:?}, {} of {TRIES} handshakes and {} health checks",
            succeeded[0], succeeded[1]
        );
    }
    println!("  attackers that the server ended: {}", attacked.report.attackers);
    Row {
        attack: NamedAttack::SilentConnections,
        attackers: 0,
        control: Latencies::from(&control.times),
        attacked: Latencies::from(&attacked.times),
        resident_before,
        peak: attacked.peak,
        closed: 0,
        lost: attacked.failed + attacked.failed_health_checks,
        report: attacked.report,
    }
}

/// Connects to `server` during an attack on `attacked`.
async fn run_tries(args: &Args, server: &Server, attacked: &Server) -> Tries {
    let each = Duration::from_secs(args.seconds) / TRIES;
    let attacker = Attacker::start(attacked, NamedAttack::SilentConnections, &args.options, args.time()).await;
    let times = Histogram::new(3).expect("three digits are supported");
    let mut tries = Tries { times, failed: 0, failed_health_checks: 0, peak: 0.0, report: Report::default() };
    let mut starts = interval(each);
    for _ in 0..TRIES {
        starts.tick().await;
        let start = Instant::now();
        let connected = timeout(TIMEOUT, connect(&server.target)).await;
        let time = if let Ok(Ok(())) = connected { start.elapsed() } else { TIMEOUT };
        tries.times.record(time.as_nanos() as u64).expect("the histogram grows");
        tries.failed += u64::from(time >= TIMEOUT);
        let admin = server.admin.expect("the standalone server has an admin page");
        let is_healthy = timeout(TIMEOUT, is_healthy(admin)).await;
        tries.failed_health_checks += u64::from(!matches!(is_healthy, Ok(Ok(true))));
        tries.peak = tries.peak.max(server.resident() / 1024.0);
    }
    tries.report = attacker.report().await;
    sleep(SETTLE_TIME).await;
    tries
}

/// Becomes the member of a new group.
async fn connect(target: &Target) -> Result<(), End> {
    let stream = target.connect().await.map_err(|_| End::ConnectionLost)?;
    let mut socket = Socket::open_over(stream, target, &format!("well-behaved-{}", fastrand::u64(..))).await?;
    socket.connect(1, &[]).await?;
    Ok(())
}

async fn is_healthy(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response.starts_with("HTTP/1.1 200 "))
}
