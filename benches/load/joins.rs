//! The cost of a join.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Socket;
use crate::process::Server;

/// Number of concurrent joins.
const CONCURRENCY: u32 = 16;

/// Returns the server CPU time per join. Each peer opens a connection in a group of its own, sends `connect`, receives
/// the answer and disconnects.
pub(crate) async fn measure(server: &Server, count: u32) -> Duration {
    let before = server.cpu_time();
    let mut joining = JoinSet::new();
    for lane in 0..CONCURRENCY {
        let target = server.target.clone();
        joining.spawn(async move {
            for nth in 0..count / CONCURRENCY {
                let mut peer = Socket::open(&target, &format!("join-{lane}-{nth}")).await;
                assert!(peer.expect_connect(1, &[]).await);
            }
        });
    }
    joining.join_all().await;
    (server.cpu_time() - before) / count
}
