//! The backplane over real servers.

mod access;
mod connections;
mod engines;
mod failures;
mod inboxes;
mod replies;
mod sentinels;
mod server;
mod shards;
mod tls;

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::{RedisBackplane, RedisBackplaneBuilder};
use crate::cluster::conformance::conformance_tests;
use crate::cluster::{
    Backplane, BackplaneError, Change, Condition, GroupTag, MemberList, NodeId, Step, StepResult, Token,
};
use crate::protocol::{MemberId, PeerId};
use server::Server;

/// A server that many tests use at the same time.
static SHARED: LazyLock<Option<Server>> = LazyLock::new(|| Server::start(&[]));

conformance_tests!(
    #[tokio::test]
    async {
        SHARED.as_ref().map(backplane)
    }
);

fn builder(server: &Server) -> RedisBackplaneBuilder {
    RedisBackplane::builder(server.url(), "test")
}

fn backplane(server: &Server) -> RedisBackplane {
    builder(server).build().expect("the settings are valid")
}

fn random_group() -> GroupTag {
    GroupTag::from_bytes(fastrand::u128(..).to_be_bytes())
}

fn random_node() -> NodeId {
    NodeId(fastrand::u64(..))
}

fn step(changes: &[Change]) -> Step {
    Step {
        seen: None,
        condition: Condition::Always,
        changes: changes.to_vec(),
        nonce: 1,
        lineage: 2,
        max_members: 1000,
    }
}

/// A step that adds a member.
fn add(n: u64) -> Step {
    let token = Token { node: NodeId(1), peer: PeerId(n) };
    step(&[Change::Add { token, id: MemberId(5), favored: false }])
}

/// Returns the number of members of a group.
async fn members(backplane: &RedisBackplane, group: GroupTag) -> Result<usize, BackplaneError> {
    let MemberList { result, entries, .. } = backplane.step(group, step(&[])).await?;
    assert_eq!(result, StepResult::Applied);
    Ok(entries.expect("the caller has no copy").len())
}

async fn send(backplane: &RedisBackplane, to: NodeId, batch: &'static str) {
    backplane.send(to, batch.into()).await.expect("the engine is reachable");
}

async fn receive(backplane: &RedisBackplane, me: NodeId) -> Vec<Bytes> {
    let received = timeout(Duration::from_secs(10), backplane.recv(me)).await.expect("a batch arrives");
    received.expect("the engine is reachable")
}

/// Repeats a call until it succeeds.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Result<T, BackplaneError>) -> T {
    let mut last = None;
    for _ in 0..1000 {
        match call().await {
            Ok(value) => return value,
            Err(error) => last = Some(error),
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the call fails each time: {last:?}");
}
