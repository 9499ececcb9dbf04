//! What a crash of one of three nodes costs the peers of the others.

use std::time::Duration;

use sigver::protocol::Message;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::deployment::Deployment;
use super::echo::{echo, open_member};
use crate::client::{End, Socket, frame};

pub(super) struct Figures {
    /// The time from the crash until the last joiner that was bound to a member of the node received the end of its
    /// link. `None` if one did not.
    pub(super) told: Option<Duration>,
    /// The peers of the other nodes that were closed.
    pub(super) closed: usize,
    /// All peers of the other nodes.
    pub(super) others: usize,
}

/// The number of groups that have their member on one node.
const GROUPS: usize = 100;

/// How long joiners may wait for the end.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the peers of the other nodes are watched after that.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Kills the first of three nodes with SIGKILL. Each node has members, whose joiners are on the two others.
pub(super) async fn measure() -> Figures {
    let mut deployment = Deployment::cluster(3).await;
    let (told, mut ends_of_links) = mpsc::unbounded_channel();
    let (mut lost, mut others) = (JoinSet::new(), JoinSet::new());
    for nth in 0..3 * GROUPS {
        let (node, key) = (nth % 3, format!("crash-{nth}"));
        // Each of the other two in turn.
        let joiners_node = (node + 1 + nth / 3 % 2) % 3;
        let member = open_member(deployment.target(node), &key).await;
        let mut joiner = Socket::open(deployment.target(joiners_node), &key).await;
        assert!(!joiner.expect_connect(2, &[]).await, "the joiner is bound");
        let told = (node == 0).then(|| told.clone());
        if node == 0 { &mut lost } else { &mut others }.spawn(echo(member));
        if joiners_node == 0 { &mut lost } else { &mut others }.spawn(listen(joiner, told));
    }
    drop(told);
    let start = Instant::now();
    deployment.kill_first().await;
    let mut last = start;
    let all_told = timeout(TIMEOUT, async {
        for _ in 0..GROUPS {
            last = ends_of_links.recv().await?;
        }
        Some(())
    });
    let told = all_told.await.ok().flatten().map(|()| last - start);
    sleep(SETTLE_TIME).await;
    let count = others.len();
    // Peers that were not closed still run.
    let mut closed = 0;
    while others.try_join_next().is_some() {
        closed += 1;
    }
    others.shutdown().await;
    lost.shutdown().await;
    Figures { told, closed, others: count }
}

/// Answers heartbeats until the connection ends. Sends the time of the end of the link to `told`.
async fn listen(mut joiner: Socket, told: Option<UnboundedSender<Instant>>) -> End {
    loop {
        let message = match joiner.recv().await {
            Ok(message) => Message::decode(message),
            Err(end) => return end,
        };
        match message {
            Ok(Message::Heartbeat) => {
                if let Err(end) = joiner.send(&frame(&Message::HEARTBEAT)).await {
                    return end;
                }
            }
            Ok(Message::Content { data, .. }) if data.is_empty() => {
                // The receiver has gone if another joiner was told too late.
                _ = told.as_ref().map(|told| told.send(Instant::now()));
            }
            _ => {}
        }
    }
}
