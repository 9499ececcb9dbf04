//! The limit of open file descriptors of this process, and how the server divides it.

use crate::settings::Settings;

/// The descriptors that always suffice in addition to one for each peer: for handshakes, close handshakes and the process
/// itself.
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

    /// Lowers `max_peers` and `max_peers_per_ip` if there are not enough descriptors for `max_peers`.
    ///
    /// Without this, peers could use all descriptors, and new connections would wait instead of being rejected.
    pub(crate) fn lower_limits(self, settings: &mut Settings) -> Option<LoweredLimits> {
        let configured = settings.max_peers.expect("the setting has a default");
        let configured_per_ip = settings.max_peers_per_ip.expect("the setting has a default");
        let limit = self.limit.filter(|_| configured > self.max_peers())?;
        let max_peers = self.max_peers();
        let max_peers_per_ip = configured_per_ip.min((max_peers / 2).max(1));
        settings.max_peers = Some(max_peers);
        settings.max_peers_per_ip = Some(max_peers_per_ip);
        Some(LoweredLimits { limit, configured, max_peers, max_peers_per_ip })
    }

    /// Returns the maximum number of open sockets of the public listener.
    pub(crate) fn max_sockets(self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit - reserved(limit))
    }

    /// Returns the number of peers that leaves enough sockets for handshakes and close handshakes.
    fn max_peers(self) -> usize {
        let handshakes = self.default_max_handshakes().min(HEADROOM - MAX_RESERVED);
        self.max_sockets().saturating_sub(handshakes).max(1)
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

/// Limits of peers that were lowered to what the descriptors allow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LoweredLimits {
    /// The limit of open file descriptors.
    limit: usize,
    /// The setting `max_peers`.
    configured: usize,
    max_peers: usize,
    max_peers_per_ip: usize,
}

impl LoweredLimits {
    /// Logs the limits in use, and what to do.
    pub(crate) fn warn(&self) {
        let Self { limit, configured, max_peers, max_peers_per_ip } = self;
        let needed = configured.saturating_add(HEADROOM);
        tracing::warn!(
            "the file descriptor limit is {limit}; must be at least {needed} for max_peers {configured}: the server uses \
            max_peers {max_peers} and max_peers_per_ip {max_peers_per_ip}; set LimitNOFILE={needed} (systemd) or \
            `ulimit -n {needed}`, or lower max_peers"
        );
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

    /// Returns `max_peers` and `max_peers_per_ip` of the hub, and whether they are lowered.
    fn lowered(limit: Option<usize>, max_peers: usize, max_peers_per_ip: usize) -> (usize, usize, bool) {
        let mut settings =
            Settings { max_peers: Some(max_peers), max_peers_per_ip: Some(max_peers_per_ip), ..Settings::defaults() };
        let lowered = Descriptors { limit }.lower_limits(&mut settings);
        (settings.max_peers.expect("set"), settings.max_peers_per_ip.expect("set"), lowered.is_some())
    }

    #[test]
    fn limits_of_peers_are_lowered_to_the_descriptors_that_handshakes_leave() {
        for (limit, max_peers, max_peers_per_ip) in
            [(1, 1, 1), (64, 16, 8), (256, 64, 32), (1024, 640, 320), (4096, 3096, 1000), (100_999, 99_999, 1000)]
        {
            assert_eq!(lowered(Some(limit), 100_000, 1000), (max_peers, max_peers_per_ip, true), "{limit}");
            assert_eq!(lowered(Some(limit), max_peers, 1000), (max_peers, 1000, false), "{limit}");
        }
        assert_eq!(lowered(Some(1024), 100_000, 7), (640, 7, true));
        for sufficient in [Some(101_000), Some(usize::MAX), None] {
            assert_eq!(lowered(sufficient, 100_000, 1000), (100_000, 1000, false));
        }
        assert_eq!(lowered(Some(1024), 0, 0), (0, 0, false), "the hub reports them");
    }
}
