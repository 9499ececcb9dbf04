//! The rules of beats and verdicts.

use super::random_node;
use crate::cluster::{Backplane, NodeId};

/// Beats and returns the count of `shown` in the reply: `Some(None)` if it is dead.
async fn beat(backplane: &impl Backplane, me: NodeId, silent: &[(NodeId, u64)], shown: NodeId) -> Option<Option<u64>> {
    backplane.beat(me, silent).await.expect("the engine is reachable").nodes.get(&shown).copied()
}

pub(crate) async fn beat_increments_the_count_of_its_node(backplane: &impl Backplane) {
    let [me, other] = [random_node(), random_node()];
    for count in 1..4 {
        assert_eq!(beat(backplane, me, &[], me).await, Some(Some(count)));
    }
    assert_eq!(beat(backplane, me, &[], other).await, None, "absent");
    assert_eq!(beat(backplane, other, &[], other).await, Some(Some(1)));
    assert_eq!(beat(backplane, other, &[], me).await, Some(Some(4)));
}

pub(crate) async fn node_that_stopped_at_the_proposed_count_is_dead(backplane: &impl Backplane) {
    let [me, other] = [random_node(), random_node()];
    beat(backplane, other, &[], other).await;
    beat(backplane, other, &[], other).await;
    assert_eq!(beat(backplane, me, &[(other, 2)], other).await, Some(None));
}

pub(crate) async fn node_that_beat_since_the_proposed_count_is_alive(backplane: &impl Backplane) {
    let [me, other] = [random_node(), random_node()];
    beat(backplane, other, &[], other).await;
    beat(backplane, other, &[], other).await;
    assert_eq!(beat(backplane, me, &[(other, 1), (other, 0)], other).await, Some(Some(2)));
}

/// The engine lost the last beats of the node. A node that remembers a verdict repeats it in this way.
pub(crate) async fn node_whose_count_went_back_is_dead(backplane: &impl Backplane) {
    let [me, other] = [random_node(), random_node()];
    for proposed in [2, 1 << 60, u64::MAX] {
        let other = NodeId(other.0 ^ proposed);
        beat(backplane, other, &[], other).await;
        assert_eq!(beat(backplane, me, &[(other, proposed)], other).await, Some(None));
    }
}

pub(crate) async fn absent_node_can_be_declared_dead(backplane: &impl Backplane) {
    let [me, other] = [random_node(), random_node()];
    assert_eq!(beat(backplane, me, &[(other, 0)], other).await, Some(None));
    assert_eq!(beat(backplane, other, &[], other).await, Some(None));
}

pub(crate) async fn beat_increments_before_it_proposes(backplane: &impl Backplane) {
    let me = random_node();
    beat(backplane, me, &[], me).await;
    assert_eq!(beat(backplane, me, &[(me, 1)], me).await, Some(Some(2)));
}

pub(crate) async fn dead_node_stays_dead(backplane: &impl Backplane) {
    let [me, other] = [random_node(), random_node()];
    beat(backplane, other, &[], other).await;
    beat(backplane, me, &[(other, 1)], other).await;
    assert_eq!(beat(backplane, other, &[], other).await, Some(None));
    assert_eq!(beat(backplane, other, &[(other, 5)], other).await, Some(None));
    assert_eq!(beat(backplane, me, &[(other, 0)], other).await, Some(None));
}
