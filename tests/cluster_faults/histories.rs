//! Short histories that fault runs have found, each with the rule that it broke.

use std::time::Duration;

use sigver::client::Event;
use sigver::memory::{self, ChannelTransport, TestClient};
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::fault::Class;

const KEY: &str = "K";

/// Runs a history under the paused clock, on nodes that know each other.
fn run(history: impl AsyncFnOnce(Cluster)) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        // No audit is due while a history runs.
        let cluster = Cluster::start(Class::Wipes);
        sleep(Duration::from_secs(3)).await;
        history(cluster).await;
    });
}

fn join(cluster: &Cluster, node: usize) -> TestClient<ChannelTransport> {
    memory::join(&cluster.nodes[node].hub, KEY)
}

async fn settle() {
    sleep(Duration::from_secs(1)).await;
}

async fn is_ended(client: &mut TestClient<ChannelTransport>) -> bool {
    matches!(client.recv().await, Ok(Event::Ended { .. }))
}

#[test]
fn restored_entry_of_a_peer_that_has_left_is_removed_once_a_joiner_is_bound_to_it() {
    run(async |cluster| {
        let (mut gone, mut member) = (join(&cluster, 0), join(&cluster, 1));
        assert!(gone.connect(1, &[]).await);
        assert!(member.connect(2, &[1]).await);
        let snapshot = cluster.engine.snapshot();
        gone.close().await;
        settle().await;
        assert_eq!(cluster.entries(KEY).await.len(), 1);
        cluster.engine.rollback(&snapshot);
        settle().await;
        assert_eq!(cluster.entries(KEY).await.len(), 2, "the entry has returned");

        let mut joiner = join(&cluster, 2);
        assert!(!joiner.connect(3, &[]).await);
        assert!(is_ended(&mut joiner).await, "its member has left");
        settle().await;
        let ids: Vec<_> = cluster.entries(KEY).await.iter().map(|entry| entry.id.0).collect();
        assert_eq!(ids, [2]);
    });
}
