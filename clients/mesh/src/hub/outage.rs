//! Logs that the hub is unreachable: the first failure of each row of failures, and its end.

use std::error::Error;
use std::fmt::Write as _;

/// Whether the hub is unreachable, and why.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    has_begun: bool,
    /// Why the last WebSocket has ended.
    cause: Option<String>,
}

impl Outage {
    /// A WebSocket is open.
    pub(crate) fn opened(&mut self) {
        self.cause = None;
    }

    /// A WebSocket has ended, or did not open.
    pub(crate) fn closed(&mut self, cause: String) {
        self.cause = Some(cause);
    }

    /// The hub counts as unreachable.
    pub(crate) fn begin(&mut self) {
        let error = self.cause.take().unwrap_or_else(|| "the hub does not answer".to_owned());
        if self.has_begun {
            tracing::debug!(%error, "the hub is still unreachable");
        } else {
            tracing::warn!(%error, "the hub is unreachable; trying again, further failures are logged at debug");
        }
        self.has_begun = true;
    }

    /// The hub has answered.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.has_begun) {
            tracing::info!("the hub is reachable again");
        }
    }
}

/// The texts of an error and of its sources, on one line.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("a String has room");
        source = error.source();
    }
    // The server chooses a part of it.
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).take(500).collect()
}
