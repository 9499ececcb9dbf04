//! What it costs a server to let a peer in.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Socket;
use crate::process::Server;

/// How many join at a time.
const AT_A_TIME: u32 = 16;

/// Server CPU for each of so many peers that open a socket, ask, are answered and leave, each with a group of its own.
pub(crate) async fn measure(server: &Server, count: u32) -> Duration {
    let before = server.busy();
    let mut joining = JoinSet::new();
    for lane in 0..AT_A_TIME {
        let target = server.target.clone();
        joining.spawn(async move {
            for nth in 0..count / AT_A_TIME {
                let mut peer = Socket::open(&target, &format!("join-{lane}-{nth}")).await;
                assert!(peer.ask(1, &[]).await);
            }
        });
    }
    joining.join_all().await;
    (server.busy() - before) / count
}
