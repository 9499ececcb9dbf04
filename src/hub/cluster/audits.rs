//! Compares the lists in the backplane with the members of this node.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::node::Node;
use crate::hub::isolate::isolate;

impl Node {
    /// Audits all groups in each `audit_interval`, and sooner if that was requested. Never returns.
    pub(super) async fn run_audits(&self) {
        let mut spread = None;
        loop {
            spread = match spread {
                // The audit itself takes the other half of the interval.
                None => self.wait_for_audit(Instant::now() + self.config.audit_interval / 2).await,
                Some(spread) => self.audit_all(spread).await,
            };
        }
    }

    /// Waits for a time or for a request, and returns how fast the audit must be.
    async fn wait_for_audit(&self, at: Instant) -> Option<Duration> {
        match timeout_at(at, self.audit_requested.notified()).await {
            Ok(()) => self.take_request(),
            Err(_) => Some(self.config.audit_interval / 2),
        }
    }

    /// Audits all groups, spread evenly over a time. Returns how fast the next audit must be, if one was requested
    /// meanwhile.
    async fn audit_all(&self, spread: Duration) -> Option<Duration> {
        let start = Instant::now();
        let count = self.registry().room_count().max(1) as f64;
        let mut nth = 0;
        for shard in 0..self.registry().shard_count() {
            for room in self.registry().rooms_of_shard(shard) {
                let due = start + spread.mul_f64((f64::from(nth) / count).min(1.0));
                if timeout_at(due, self.audit_requested.notified()).await.is_ok() {
                    return self.take_request();
                }
                isolate(|| room.audit(self.now()));
                nth += 1;
            }
        }
        None
    }

    fn take_request(&self) -> Option<Duration> {
        self.requested_audit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
