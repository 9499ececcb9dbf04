//! The settings of logs, metrics and events.

use std::sync::Arc;

use super::HubBuilder;

/// Observability.
impl HubBuilder {
    /// Sets the name of the hub, for apps with several hubs. Default: none. It must be 1 to 64 bytes of UTF-8 without
    /// control characters.
    ///
    /// It is the label `hub` of all metrics of the hub, and the field `hub` of its spans and log lines. A hub without a
    /// name has neither. Names that users choose would make the number of time series unbounded.
    ///
    /// ```
    /// use sigver::SignalingHub;
    ///
    /// let [lobby, games] = ["lobby", "games"].map(|name| SignalingHub::builder().name(name).build());
    /// assert_eq!(lobby?.name(), Some("lobby"));
    /// # games?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config.name = Some(name.into());
        self
    }

    /// Sets how many events the hub keeps for a slow reader of [`SignalingHub::events`](crate::SignalingHub::events).
    /// Default: 1024. It must be 1 to 65 536, and is rounded up to a power of two.
    ///
    /// An event takes about 128 bytes. The memory is allocated when the first reader subscribes.
    pub fn event_capacity(mut self, count: usize) -> Self {
        self.config.event_capacity = count;
        self
    }
}
