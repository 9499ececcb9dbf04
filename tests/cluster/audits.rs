//! When a node audits its groups.

use std::time::Duration;

use sigver::cluster::Outage;
use tokio::time::sleep;

use crate::cluster::{Cluster, SECOND, millis};
use crate::peer::Peer;

/// The number of groups, with one member each.
const GROUPS: usize = 40;

/// Starts a node whose groups are audited every 160 s, and returns the members.
async fn start() -> (Cluster, Vec<Peer>) {
    let cluster = Cluster::with(1, |hub, cluster| (hub, cluster.audit_interval(160 * SECOND))).await;
    let mut members = Vec::new();
    for key in 0..GROUPS {
        let member = cluster.join_as(0, key.to_string().as_str());
        assert!(member.connect(1, &[]).await);
        members.push(member);
    }
    // To 500 ms after the beat at 4 s.
    sleep(SECOND * 5 / 2 - 41 * millis(1)).await;
    assert_eq!(audited(&cluster), GROUPS, "the answers");
    (cluster, members)
}

/// Returns the number of steps since the last call.
fn audited(cluster: &Cluster) -> usize {
    std::mem::take(&mut cluster.tap(0).state().steps)
}

/// Returns the number of steps in each of eight successive periods.
async fn audited_in_8(cluster: &Cluster, period: Duration) -> [usize; 8] {
    let mut counts = [0; 8];
    for count in &mut counts {
        sleep(period).await;
        *count = audited(cluster);
    }
    counts
}

/// Checks that nothing is left.
async fn finish(cluster: Cluster, members: Vec<Peer>) {
    drop(members);
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn each_group_is_audited_once_in_each_interval_and_the_audits_are_spread_over_half_of_it() {
    let (cluster, members) = start().await;
    // The first half of the interval, to 500 ms before the first audit.
    sleep(75 * SECOND).await;
    assert_eq!(audited(&cluster), 0);
    assert_eq!(audited_in_8(&cluster, 10 * SECOND).await, [5; 8]);
    assert!(members.iter().all(|member| member.take().is_empty()));
    // The last audit was 2 s before the end of that half.
    sleep(78 * SECOND).await;
    assert_eq!(audited(&cluster), 0);
    assert_eq!(audited_in_8(&cluster, 10 * SECOND).await, [5; 8]);
    finish(cluster, members).await;
}

#[tokio::test(start_paused = true)]
async fn audits_after_a_loss_of_state_are_spread_over_2_seconds() {
    let (cluster, members) = start().await;
    cluster.engine.wipe();
    // The next beat.
    sleep(SECOND * 3 / 2 - millis(1)).await;
    assert_eq!(audited(&cluster), 0);
    assert_eq!(audited_in_8(&cluster, millis(250)).await, [5; 8]);
    assert!(members.iter().all(|member| member.take().is_empty()));
    finish(cluster, members).await;
}

#[tokio::test(start_paused = true)]
async fn audits_after_an_outage_are_spread_over_30_seconds() {
    let (cluster, members) = start().await;
    cluster.engine.outage(Outage::Lose);
    sleep(5 * SECOND).await;
    cluster.engine.restore();
    // The next beat.
    sleep(SECOND / 2 - millis(1)).await;
    assert_eq!(audited(&cluster), 0);
    assert_eq!(audited_in_8(&cluster, millis(3750)).await, [5; 8]);
    finish(cluster, members).await;
}

#[tokio::test(start_paused = true)]
async fn loss_of_state_during_slower_audits_starts_faster_ones_of_all_groups() {
    let (cluster, members) = start().await;
    cluster.engine.outage(Outage::Lose);
    sleep(5 * SECOND).await;
    cluster.engine.restore();
    sleep(SECOND * 5 / 2 - millis(1)).await;
    assert!((1..GROUPS / 4).contains(&audited(&cluster)), "the slower audits have begun");
    cluster.engine.wipe();
    assert_eq!(audited_in_8(&cluster, millis(250)).await, [5; 8]);
    sleep(28 * SECOND).await;
    assert_eq!(audited(&cluster), 0, "the slower audits have ended");
    finish(cluster, members).await;
}

#[tokio::test(start_paused = true)]
async fn group_whose_last_peer_leaves_before_its_audit_is_sent_does_not_wait() {
    let cluster = Cluster::with(1, |hub, cluster| (hub, cluster.audit_interval(40 * SECOND))).await;
    let stats = || cluster.nodes[0].hub.cluster_stats().expect("the hub is in a cluster");
    let peer = cluster.join(0);
    // A node without a beat sends no step.
    cluster.tap(0).state().fails_beats = true;
    sleep(30 * SECOND).await;
    assert_eq!((stats().steps_waiting, audited(&cluster)), (1, 0));
    drop(peer);
    sleep(SECOND).await;
    cluster.tap(0).state().fails_beats = false;
    sleep(3 * SECOND).await;
    assert_eq!((stats().steps_waiting, audited(&cluster)), (0, 0));
    cluster.finish().await;
}
