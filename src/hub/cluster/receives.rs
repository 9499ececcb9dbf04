//! Applies the records of other nodes.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use tokio::task::coop::consume_budget;
use tokio::time::sleep_until;

use super::node::Node;
use crate::cluster::{BackplaneError, Batch, Matching, NodeId, Record, Side, Token, sender};
use crate::hub::close::Close;
use crate::hub::isolate::isolate;

/// Why the loop of receives continues.
enum Next {
    Batches(Result<Vec<Bytes>, BackplaneError>),
    /// A RESET is due.
    Reset,
    /// This node has another inbox.
    Restarted,
}

impl Node {
    /// Applies the batches in this node's inbox. Never returns.
    pub(super) async fn run_receives(&self) {
        loop {
            match self.next_receive().await {
                Next::Batches(Ok(batches)) => {
                    for batch in batches {
                        self.receive_batch(batch).await;
                    }
                }
                Next::Batches(Err(error)) => {
                    tracing::debug!(%error, "inbox not read");
                    self.backoff.wait().await;
                }
                Next::Reset | Next::Restarted => {}
            }
            self.send_resets().await;
        }
    }

    async fn next_receive(&self) -> Next {
        let me = self.bus.me();
        let mut batches = pin!(self.backplane.recv(me));
        let mut restarted = pin!(self.restarted.notified());
        let reset_at = self.state().inboxes.values().filter_map(|inbox| inbox.reset_at()).min();
        let mut reset = pin!(async {
            match reset_at {
                Some(at) => sleep_until(self.shared.epoch + at).await,
                None => pending().await,
            }
        });
        // Dropping the call loses no batch.
        poll_fn(|cx| {
            if restarted.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Restarted);
            }
            if reset.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Reset);
            }
            batches.as_mut().poll(cx).map(Next::Batches)
        })
        .await
    }

    async fn receive_batch(&self, bytes: Bytes) {
        let batch = Batch::decode(bytes.clone());
        let Some(from) = batch.as_ref().map_or_else(|_| sender(&bytes), |batch| Some(batch.sender())) else {
            tracing::warn!(bytes = bytes.len(), "batch without a sender in this node's inbox");
            return;
        };
        let (received, has_gap) = {
            let (now, state) = (self.now(), &mut *self.state());
            if !state.nodes.is_other(from, now) {
                // What a dead node sends is dropped.
                return;
            }
            let inbox = state.inboxes.entry(from).or_default();
            match batch {
                Ok(batch) => {
                    let received = inbox.receive(batch);
                    let missed = received.missed;
                    if missed > 0 {
                        tracing::info!(node = from.0, missed, "records of a node were lost; its links end");
                    }
                    (Some(received.records), missed > 0)
                }
                Err(error) => {
                    inbox.unreadable();
                    tracing::warn!(node = from.0, %error, "unreadable batch; the links of its sender end");
                    (None, true)
                }
            }
        };
        if has_gap {
            self.bus.counters().count_gap();
            self.end_links_with(from).await;
        }
        for record in received.into_iter().flatten() {
            self.bus.counters().count_received_record();
            self.receive_record(from, record).await;
            consume_budget().await;
        }
        isolate(|| self.registry().report_gauges());
    }

    async fn receive_record(&self, from: NodeId, record: Record) {
        let now = self.now();
        let group = match &record {
            Record::Reset => {
                self.bus.counters().count_reset();
                return self.for_each_room(|room| room.reset_links_with(from, now)).await;
            }
            Record::CloseMatching { matching: Matching::Group(group), .. } => *group,
            Record::CloseMatching { matching: Matching::Identity(identity), code, reason } => {
                let close = Close::by_app(*code, reason.clone());
                return isolate(|| _ = self.shared.close_identity(identity, &close)).unwrap_or_default();
            }
            Record::Bind { group, .. }
            | Record::Data { group, .. }
            | Record::End { group, .. }
            | Record::Over { group, .. }
            | Record::Id { group, .. }
            | Record::Look { group, .. }
            | Record::Close { group, .. } => *group,
        };
        let Some(room) = self.find(group) else {
            if let Record::Bind { link, member, .. } = record {
                // The member has left, but the list has it.
                let (me, end) = (self.bus.me(), Record::End { group, link, side: Side::Member });
                // If too many wait, another node names this one again.
                let _ = self.strays.try_send((group, Token { node: me, peer: member }));
                self.bus.send(me, from, &end);
            }
            return;
        };
        isolate(|| match record {
            Record::Close { peer, code, reason, cause, .. } => {
                _ = room.close(peer, Close::by_other_node(code, reason, &cause))
            }
            Record::CloseMatching { code, reason, .. } => _ = room.close_all(&Close::new(code, reason)),
            record => room.receive(from, record, now),
        });
    }

    /// Sends the RESETs that are due.
    async fn send_resets(&self) {
        let now = self.now();
        let due: Vec<_> = {
            let inboxes = &mut self.state().inboxes;
            inboxes.iter_mut().filter_map(|(&node, inbox)| inbox.take_reset(now).then_some(node)).collect()
        };
        for node in due {
            self.end_links_with(node).await;
            self.bus.send(self.bus.me(), node, &Record::Reset);
        }
    }
}
