//! The cost of a membership: a peer joins, connects, is bound, becomes a member and leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sigver::protocol::Message;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::deployment::{Cpu, Deployment};
use super::echo::{MEMBER, echo, open_member};
use crate::client::{Socket, Target, frame};
use crate::process::CpuMeter;
use crate::relay::WARM_UP;

/// The number of groups. Each has one joiner at a time.
const GROUPS: usize = 64;

/// Payload of each message, in bytes.
const PAYLOAD: usize = 200;

pub(super) struct Figures {
    pub(super) per_second: f64,
    /// Of one membership.
    pub(super) cpu: Cpu,
}

/// Runs memberships as fast as they end. While a joiner is bound, it and the member exchange `messages`, one after the
/// other.
pub(super) async fn measure(deployment: &Deployment, messages: usize, seconds: f64) -> Figures {
    let (counter, mut peers) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for nth in 0..GROUPS {
        let key = format!("membership-{nth}-{}", fastrand::u64(..));
        let member = open_member(deployment.target(nth), &key).await;
        peers.spawn(async { _ = echo(member).await });
        peers.spawn(run(deployment.target(nth + 1).clone(), key, messages, counter.clone()));
    }
    sleep(WARM_UP).await;
    let (since, before) = (Instant::now(), counter.load(Ordering::Relaxed));
    let processes = deployment.processes();
    let cpu = CpuMeter::start(&processes);
    sleep(Duration::from_secs_f64(seconds)).await;
    let count = counter.load(Ordering::Relaxed) - before;
    let figures =
        Figures { per_second: count as f64 / since.elapsed().as_secs_f64(), cpu: deployment.cpu(&cpu.per(count)) };
    peers.shutdown().await;
    figures
}

/// Runs the memberships of one group after each other.
async fn run(target: Target, key: String, messages: usize, counter: Arc<AtomicU64>) {
    let content = frame(&Message::content(0, Bytes::from(vec![b'x'; PAYLOAD])).encode());
    loop {
        let mut joiner = Socket::open(&target, &key).await;
        assert!(!joiner.expect_connect(2, &[]).await, "the joiner is bound");
        for _ in 0..messages / 2 {
            joiner.expect_send(&content).await;
            while joiner.expect_recv().await.len() < PAYLOAD {}
        }
        assert!(joiner.expect_connect(2, &[MEMBER]).await, "the joiner becomes a member");
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
