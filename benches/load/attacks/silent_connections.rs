//! TCP connections to the standalone server that send nothing.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::Options;
use super::attackers::Attackers;
use crate::client::{End, Target};

/// The attack is in place after this number of connections: more than the server may have file descriptors.
const IN_PLACE: f64 = 1100.0;

pub(super) async fn start(attackers: &Attackers, options: &Options) -> JoinSet<()> {
    let each = Duration::from_secs_f64(1.0 / options.connections_per_second);
    let attackers = attackers.clone();
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut connections = JoinSet::new();
        let mut connects = interval(each);
        loop {
            connects.tick().await;
            attackers.record(|report| report.attackers.started += 1);
            let attackers = attackers.clone();
            connections.spawn(async move {
                wait_for_end(&attackers.target).await;
                attackers.record(|report| report.attackers.count_end(End::ConnectionLost));
            });
            while connections.try_join_next().is_some() {}
        }
    });
    sleep(each.mul_f64(IN_PLACE)).await;
    running
}

/// Connects, and waits until the server ends the connection.
async fn wait_for_end(target: &Target) {
    if let Ok(mut stream) = target.connect().await {
        // The server may send a response before it ends the connection.
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
    }
}
