//! Sends the steps of the groups to the backplane: one at a time for each group.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout};

use super::node::Node;
use crate::cluster::{GroupTag, MemberList, OutcomeUnknown};
use crate::hub::isolate::isolate;
use crate::hub::observability::cluster_stats::StepOutcome;
use crate::hub::rooms::clustered::RoomStep;
use crate::hub::rooms::room::Room;

/// The number of steps in flight. Further groups wait, so that an unreachable engine does not cost memory for each.
const MAX_STEPS: usize = 1024;

/// The time after which the outcome of a step counts as unknown.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// A step whose call has ended.
struct Done {
    tag: GroupTag,
    room: Arc<Room>,
    generation: u64,
    reply: Result<MemberList, OutcomeUnknown>,
    /// The time until the reply, or until the outcome counted as unknown.
    duration: Duration,
}

impl Node {
    /// Sends the steps of all groups. Never returns.
    pub(super) async fn run_steps(&self) {
        let mut waiting = VecDeque::new();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < MAX_STEPS
                && self.has_recent_beat()
                && let Some(tag) = waiting.pop_front()
            {
                let Some(room) = self.find(tag) else {
                    self.bus.counters().step_dequeued();
                    continue;
                };
                match isolate(|| room.next_step()).flatten() {
                    Some(step) => running.push(self.call_step(tag, room, step)),
                    None => {
                        self.bus.counters().step_dequeued();
                        self.remove_idle(&room);
                    }
                }
            }
            let mut groups = pin!(self.bus.take_groups());
            let mut beat = pin!(self.has_beaten.notified());
            let done = poll_fn(|cx| {
                if beat.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if let Poll::Ready(groups) = groups.as_mut().poll(cx) {
                    waiting.extend(groups);
                    return Poll::Ready(None);
                }
                match running.poll_next_unpin(cx) {
                    Poll::Ready(Some(done)) => Poll::Ready(Some(done)),
                    // `None`: no step is in flight.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                }
            });
            if let Some(done) = done.await {
                self.finish_step(done);
                consume_budget().await;
            }
        }
    }

    /// Returns whether the other nodes cannot have declared this one dead. A node that has not beaten for longer may have
    /// been paused: the others drop its records, so they would not learn which of their members it removes.
    fn has_recent_beat(&self) -> bool {
        self.bus.beat_age(self.now()).is_some_and(|age| age < self.config.node_timeout)
    }

    async fn call_step(&self, tag: GroupTag, room: Arc<Room>, RoomStep { step, generation }: RoomStep) -> Done {
        let start = Instant::now();
        // A step is not cancelled: dropping it would only hide its outcome.
        let reply = match timeout(STEP_TIMEOUT, self.backplane.step(tag, step)).await {
            Ok(Ok(list)) => {
                self.backoff.reset();
                Ok(list)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "step failed");
                Err(OutcomeUnknown)
            }
            Err(_) => {
                tracing::debug!(timeout = ?STEP_TIMEOUT, "step has no reply");
                Err(OutcomeUnknown)
            }
        };
        let duration = start.elapsed();
        if reply.is_err() {
            // The group sends the next step when it learns of this one.
            self.backoff.wait().await;
        }
        Done { tag, room, generation, reply, duration }
    }

    fn finish_step(&self, Done { tag, room, generation, reply, duration }: Done) {
        self.bus.counters().step_dequeued();
        isolate(|| self.bus.counters().count_step(StepOutcome::of(&reply), duration));
        if let Ok(MemberList { entries: Some(entries), .. }) = &reply {
            let nodes: BTreeSet<_> = entries.iter().map(|entry| entry.token.node).collect();
            let (now, state) = (self.now(), &mut *self.state());
            nodes.into_iter().for_each(|node| state.nodes.watch(node, now));
        }
        let answers = isolate(|| room.reply(generation, reply, self.now())).unwrap_or_default();
        isolate(|| {
            for answer in answers {
                self.shared.report_answer(answer.peer, room.key(), answer.member);
            }
            self.registry().report_gauges();
        });
        // Otherwise the room has enqueued the group again.
        self.remove_idle(&room);
        tracing::trace!(group = %tag, "step applied");
    }

    /// Removes a room that has no peers and nothing to send any more.
    fn remove_idle(&self, room: &Arc<Room>) {
        self.registry().remove_idle(room);
    }
}
