//! Sends records to other nodes: one batch at a time for each.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{sleep_until, timeout};

use super::node::Node;
use crate::cluster::NodeId;

/// The time after which a batch is sent again. The receiver drops duplicates.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

impl Node {
    /// Sends the batches to all nodes. Never returns.
    pub(super) async fn run_sends(&self) {
        let mut running = FuturesUnordered::new();
        loop {
            for node in self.bus.take_overflowed() {
                tracing::warn!(node = node.0, "too many records for a node; its links end");
                self.end_links_with(node).await;
            }
            let me = self.bus.me();
            for (to, batch) in self.bus.next_batches(self.now()) {
                running.push(self.send_batch(me, to, batch));
            }
            let mut records = pin!(self.bus.wait_for_records());
            let mut timer = pin!(async {
                match self.bus.next_batch_at() {
                    Some(at) => sleep_until(self.shared.epoch + at).await,
                    None => pending().await,
                }
            });
            poll_fn(|cx| {
                let sent = running.poll_next_unpin(cx);
                if matches!(sent, Poll::Ready(Some(())))
                    || records.as_mut().poll(cx).is_ready()
                    || timer.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
    }

    /// Sends a batch until the engine has confirmed it, or nobody waits for it any more.
    async fn send_batch(&self, me: NodeId, to: NodeId, batch: Bytes) {
        while self.bus.is_wanted(me, to) {
            match timeout(SEND_TIMEOUT, self.backplane.send(to, batch.clone())).await {
                Ok(Ok(())) => {
                    self.backoff.reset();
                    return self.bus.sent(me, to);
                }
                Ok(Err(error)) => tracing::debug!(%error, "batch not sent"),
                Err(_) => tracing::debug!(timeout = ?SEND_TIMEOUT, "batch not confirmed"),
            }
            self.backoff.wait().await;
        }
    }
}
