//! The time at which a join gives up.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::join_error::{JoinError, JoinStep};

/// Longer than any useful timeout, and not so long that it overflows a clock.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout.min(MAX_TIMEOUT))
    }

    /// Returns the earlier of this deadline and another one.
    pub(super) fn or_after(self, timeout: Duration) -> Self {
        Self(self.0.min(Self::after(timeout).0))
    }

    /// Returns what `future` returns, or an error with the step if the deadline passes first.
    pub(super) async fn limit<T>(
        self,
        step: JoinStep,
        future: impl Future<Output = Result<T, JoinError>>,
    ) -> Result<T, JoinError> {
        timeout_at(self.0, future).await.unwrap_or(Err(JoinError::Timeout { step }))
    }
}
