//! Nodes that were declared dead and return with a new incarnation.

use tokio::time::sleep;

use crate::cluster::{Cluster, SECOND};

#[tokio::test(start_paused = true)]
async fn returning_node_removes_what_its_earlier_incarnation_has_left_in_the_lists() {
    let cluster = Cluster::start(2).await;
    // The other node has no peer in the group, so it does not change the list.
    let members = [cluster.member(0, 1, &[]).await, cluster.member(0, 2, &[1]).await];
    cluster.nodes[0].switch.stop();
    sleep(30 * SECOND).await;
    assert_eq!(cluster.engine.list_count(), 1);
    cluster.nodes[0].switch.resume();
    sleep(5 * SECOND).await;
    assert!(members.iter().all(|member| member.take().is_empty()));
    assert_eq!(cluster.engine.list_count(), 1);
    // All entries are those of the new incarnation.
    drop(members);
    cluster.finish().await;
}
