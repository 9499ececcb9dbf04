//! The memory and the CPU use of a server during a phase.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::process::Server;

/// The figures of a server during a phase.
pub(super) struct ServerFigures {
    /// Resident memory at the end of the phase, in MiB.
    pub(super) resident: f64,
    /// Highest resident memory, in MiB.
    pub(super) peak: f64,
    /// Highest number of peers.
    pub(super) peers: u64,
    /// CPU use, in cores.
    pub(super) cpu: f64,
}

/// Measures the server for this time.
pub(super) async fn watch(server: &Server, time: Duration) -> ServerFigures {
    let (since, before) = (Instant::now(), server.cpu_time());
    let mut samples = interval(Duration::from_millis(100));
    let (mut peak, mut peers): (f64, u64) = (0.0, 0);
    while since.elapsed() < time {
        samples.tick().await;
        peak = peak.max(server.resident() / 1024.0);
        peers = peers.max(server.stats().get("peers").copied().unwrap_or_default());
    }
    let cpu = (server.cpu_time() - before).div_duration_f64(since.elapsed());
    ServerFigures { resident: server.resident() / 1024.0, peak, peers, cpu }
}
