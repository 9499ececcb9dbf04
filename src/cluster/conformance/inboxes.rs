//! The rules of inboxes.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, future};
use tokio::time::timeout;

use super::random_node;
use crate::cluster::{Backplane, NodeId};

async fn send(backplane: &impl Backplane, to: NodeId, batch: &'static str) {
    backplane.send(to, batch.into()).await.expect("the engine is reachable");
}

/// Receives until this number of batches has arrived.
async fn receive(backplane: &impl Backplane, me: NodeId, count: usize) -> Vec<Bytes> {
    let mut batches = Vec::new();
    while batches.len() < count {
        let received = timeout(Duration::from_secs(10), backplane.recv(me)).await.expect("a batch arrives");
        batches.extend(received.expect("the engine is reachable"));
    }
    batches
}

pub(crate) async fn batches_arrive_in_order_and_once(backplane: &impl Backplane) {
    let me = random_node();
    for batch in ["1", "2", "2"] {
        send(backplane, me, batch).await;
    }
    assert_eq!(receive(backplane, me, 3).await, ["1", "2", "2"]);
    send(backplane, me, "3").await;
    assert_eq!(receive(backplane, me, 1).await, ["3"]);
}

pub(crate) async fn waiting_reader_receives_a_batch(backplane: &impl Backplane) {
    let me = random_node();
    let mut waiting = backplane.recv(me);
    assert!(waiting.as_mut().now_or_never().is_none(), "the inbox is empty");
    let waiting = timeout(Duration::from_secs(10), waiting);
    let (batches, ()) = future::join(waiting, send(backplane, me, "1")).await;
    assert_eq!(batches.expect("a batch arrives").expect("the engine is reachable"), ["1"]);
}

pub(crate) async fn dropped_call_loses_no_batch(backplane: &impl Backplane) {
    let me = random_node();
    for batch in ["1", "2"] {
        let mut waiting = backplane.recv(me);
        assert!(waiting.as_mut().now_or_never().is_none(), "the inbox is empty");
        send(backplane, me, batch).await;
        drop(waiting);
        assert_eq!(receive(backplane, me, 1).await, [batch]);
    }
}

pub(crate) async fn inboxes_are_separate(backplane: &impl Backplane) {
    let [first, second] = [random_node(), random_node()];
    send(backplane, first, "1").await;
    send(backplane, second, "2").await;
    assert_eq!(receive(backplane, second, 1).await, ["2"]);
    assert_eq!(receive(backplane, first, 1).await, ["1"]);
}

pub(crate) async fn bytes_arrive_unchanged(backplane: &impl Backplane) {
    let me = random_node();
    let every_byte: Bytes = (0..=u8::MAX).cycle().take(100_000).collect();
    for batch in [Bytes::new(), every_byte.clone()] {
        backplane.send(me, batch).await.expect("the engine is reachable");
    }
    assert_eq!(receive(backplane, me, 2).await, [Bytes::new(), every_byte]);
}
