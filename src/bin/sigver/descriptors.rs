//! The limit of open file descriptors of this process, and how the server divides it.

/// The descriptors to allow in addition to one for each peer: for handshakes, close handshakes and the process itself.
const HEADROOM: usize = 1000;
/// The maximum number of connections to the admin listener.
const MAX_ADMIN_CONNECTIONS: usize = 64;
/// Descriptors that the public listener leaves free: for the admin listener, and as many for everything else.
const MAX_RESERVED: usize = 2 * MAX_ADMIN_CONNECTIONS;
/// The maximum default of `max_handshakes`. A client can make the server buffer a request head of 32 KiB.
const MAX_DEFAULT_HANDSHAKES: usize = 16_384;

/// The file descriptors that this process may open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    /// `None` if the system does not report a limit.
    limit: Option<usize>,
}

impl Descriptors {
    /// Raises the soft limit of this process to its hard limit.
    #[cfg(unix)]
    pub(crate) fn raise() -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).or_else(|error| {
            tracing::warn!(%error, "cannot raise the file descriptor limit");
            rlimit::Resource::NOFILE.get_soft()
        });
        // The limit of a system that does not report it is unknown.
        Self { limit: limit.ok().map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)) }
    }

    #[cfg(not(unix))]
    pub(crate) fn raise() -> Self {
        Self { limit: None }
    }

    #[cfg(test)]
    pub(crate) fn unlimited() -> Self {
        Self { limit: None }
    }

    /// Logs what to do if the limit is too low for this number of peers.
    pub(crate) fn check(self, max_peers: usize) {
        let needed = max_peers.saturating_add(HEADROOM);
        if let Some(limit) = self.limit.filter(|limit| *limit < needed) {
            tracing::warn!(
                "the file descriptor limit is {limit}; must be at least {needed} for max_peers {max_peers}: set \
                LimitNOFILE={needed} (systemd) or `ulimit -n {needed}`, or lower max_peers"
            );
        }
    }

    /// Returns the maximum number of open sockets of the public listener.
    pub(crate) fn max_sockets(self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit - reserved(limit))
    }

    /// Returns the maximum number of open sockets of the admin listener.
    pub(crate) fn max_admin_connections(self) -> usize {
        self.limit.map_or(MAX_ADMIN_CONNECTIONS, |limit| (reserved(limit) / 2).max(1))
    }

    /// Returns the default of `max_handshakes`.
    pub(crate) fn default_max_handshakes(self) -> usize {
        self.limit.map_or(MAX_DEFAULT_HANDSHAKES, |limit| (limit / 4).clamp(1, MAX_DEFAULT_HANDSHAKES))
    }
}

fn reserved(limit: usize) -> usize {
    MAX_RESERVED.min(limit / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_public_listener_admin_listener_and_process_do_not_exceed_the_limit() {
        for (limit, sockets, admin, handshakes) in [
            (1, 1, 1, 1),
            (64, 32, 16, 16),
            (256, 128, 64, 64),
            (1024, 896, 64, 256),
            (65_536, 65_408, 64, 16_384),
            (usize::MAX, usize::MAX - 128, 64, 16_384),
        ] {
            let descriptors = Descriptors { limit: Some(limit) };
            assert_eq!(descriptors.max_sockets(), sockets, "{limit}");
            assert_eq!(descriptors.max_admin_connections(), admin, "{limit}");
            assert_eq!(descriptors.default_max_handshakes(), handshakes, "{limit}");
        }
        let unlimited = Descriptors::unlimited();
        assert_eq!((unlimited.max_sockets(), unlimited.max_admin_connections()), (usize::MAX, 64));
    }
}
