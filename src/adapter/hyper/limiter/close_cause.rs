//! Why a limiter closes connections: counts and log lines.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counted_log::CountedLog;

/// Why a [`ConnectionLimiter`](super::ConnectionLimiter) closed a connection.
///
/// A cause that is a setting has the name of its method of the builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CloseCause {
    /// Number of idle connections.
    MaxHandshakes,
    /// Number of idle connections from one client IP.
    MaxHandshakesPerIp,
    /// Number of connections with a request in progress.
    MaxBusyConnections,
    /// Number of connections with a request in progress from one client IP.
    MaxBusyConnectionsPerIp,
    /// The connection was idle for too long. These closes are not logged above the level `debug`.
    IdleTimeout,
    /// The process has no free file descriptor for a new connection.
    FileDescriptors,
}

impl CloseCause {
    /// All causes.
    pub const ALL: &'static [Self] = &[
        Self::MaxHandshakes,
        Self::MaxHandshakesPerIp,
        Self::MaxBusyConnections,
        Self::MaxBusyConnectionsPerIp,
        Self::IdleTimeout,
        Self::FileDescriptors,
    ];

    /// Returns the name of the cause, for example `max_handshakes`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxHandshakes => "max_handshakes",
            Self::MaxHandshakesPerIp => "max_handshakes_per_ip",
            Self::MaxBusyConnections => "max_busy_connections",
            Self::MaxBusyConnectionsPerIp => "max_busy_connections_per_ip",
            Self::IdleTimeout => "idle_timeout",
            Self::FileDescriptors => "file_descriptors",
        }
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The closed connections, by cause.
pub(super) struct Closes {
    limiter: Option<Arc<str>>,
    counts: [AtomicU64; CloseCause::ALL.len()],
    logs: [CountedLog<Close>; CloseCause::ALL.len()],
}

struct Close {
    limiter: Option<Arc<str>>,
    cause: CloseCause,
    client: IpAddr,
}

impl Closes {
    /// `limiter` is its name.
    pub(super) fn new(limiter: Option<Arc<str>>) -> Self {
        let logs = std::array::from_fn(|_| CountedLog::new(write));
        Self { limiter, counts: Default::default(), logs }
    }

    pub(super) fn record(&self, cause: CloseCause, client: IpAddr) {
        self.counts[cause as usize].fetch_add(1, Ordering::Relaxed);
        let limiter = self.limiter.as_deref();
        tracing::debug!(parent: None, limiter, %cause, client_ip = %client, "closed a connection");
        // Normal for a client that has no further request.
        if cause != CloseCause::IdleTimeout {
            self.logs[cause as usize].count(Close { limiter: self.limiter.clone(), cause, client });
        }
    }

    pub(super) fn count(&self, cause: CloseCause) -> u64 {
        self.counts[cause as usize].load(Ordering::Relaxed)
    }

    /// Logs the closes whose minute has passed.
    pub(super) fn write_due(&self) {
        self.logs.iter().for_each(CountedLog::write_due);
    }

    /// Logs all closes, before the process ends.
    pub(super) fn write_all(&self) {
        self.logs.iter().for_each(CountedLog::write_all);
    }
}

/// Writes the line outside of every span: the span of the current task belongs to another connection.
fn write(connections: u64, Close { limiter, cause, client }: Close) {
    let message = match cause {
        CloseCause::MaxBusyConnections | CloseCause::MaxBusyConnectionsPerIp => {
            "closed connections with a request in progress"
        }
        _ => "closed connections that had not completed the WebSocket handshake",
    };
    tracing::warn!(
        parent: None,
        limiter = limiter.as_deref(),
        cause = cause.as_str(),
        connections,
        client_ip = %client,
        "{message}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_at_the_index_of_its_count() {
        for (index, &cause) in CloseCause::ALL.iter().enumerate() {
            assert_eq!(cause as usize, index, "{cause}");
        }
    }
}
