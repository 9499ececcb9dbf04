//! The connections that have not completed the WebSocket handshake, and the descriptors of all connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connection_table::{Connection, ConnectionTable, Limit};
use super::counted_log::CountedLog;
use super::ip_block::{IpBlock, canonical};
use super::listener::Stream;
use super::socket::Socket;
use crate::config::HandshakeLimits;
use crate::descriptors::Descriptors;

/// How long to wait for the descriptor of a closed connection. Then the next oldest is closed, because the first may
/// have completed its handshake meanwhile and keep its descriptor.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Counts connections from the accept to the WebSocket upgrade, and open sockets from the accept to their close. When
/// a limit is reached, it closes the oldest connection that has not completed its handshake.
pub(super) struct Handshakes {
    table: Arc<ConnectionTable>,
    /// One permit for each socket that the public listener may still open.
    descriptors: Arc<Semaphore>,
    /// Proxies that connect on behalf of many clients.
    trusted_proxies: Vec<IpNet>,
    /// By cause.
    closes: [CountedLog<(HandshakeCause, IpAddr)>; HandshakeCause::ALL.len()],
    /// The times at which a new connection waited for a descriptor and no other connection could be closed.
    waits: CountedLog<()>,
}

/// Why a connection was closed before it completed its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeCause {
    MaxHandshakes,
    MaxHandshakesPerIp,
    FileDescriptors,
}

impl Handshakes {
    pub(super) fn new(limits: HandshakeLimits, descriptors: Descriptors) -> Self {
        let max = limits.max_handshakes.unwrap_or(descriptors.default_max_handshakes());
        Self {
            table: ConnectionTable::new(max, limits.max_handshakes_per_ip),
            descriptors: Arc::new(Semaphore::new(descriptors.max_sockets().min(Semaphore::MAX_PERMITS))),
            trusted_proxies: limits.trusted_proxies,
            closes: HandshakeCause::ALL.map(|_| CountedLog::new(log_closes)),
            waits: CountedLog::new(|_, ()| {
                tracing::warn!("peers use all file descriptors; new connections wait until a peer disconnects");
            }),
        }
    }

    /// Counts a connection that was just accepted. If all descriptors are in use, it waits for one.
    pub(super) async fn begin(&self, stream: Stream, client: SocketAddr) -> (Connection, Socket) {
        let (connection, is_closing) = self.insert(client.ip());
        let descriptor = self.descriptor(&connection, is_closing).await;
        (connection, Socket::new(stream, descriptor))
    }

    /// Returns the number of connections that have not completed their handshake.
    pub(super) fn pending(&self) -> usize {
        self.table.len()
    }

    /// Returns how many connections each cause has closed.
    pub(super) fn closes(&self) -> [(HandshakeCause, u64); HandshakeCause::ALL.len()] {
        HandshakeCause::ALL.map(|cause| (cause, self.closes[cause as usize].total()))
    }

    /// Logs the closed connections whose minute has passed.
    pub(super) fn write_due(&self) {
        self.closes.iter().for_each(CountedLog::write_due);
    }

    /// Logs all closed connections, before the server ends.
    pub(super) fn write_all(&self) {
        self.closes.iter().for_each(CountedLog::write_all);
    }

    /// Adds a connection, and returns whether that closed another one.
    fn insert(&self, client: IpAddr) -> (Connection, bool) {
        let client = canonical(client);
        let is_trusted = self.trusted_proxies.iter().any(|network| network.contains(&client));
        let blocks = if is_trusted { Vec::new() } else { IpBlock::of(client) };
        let (connection, closed) = self.table.insert(client, blocks);
        if let Some((limit, closed_client)) = closed {
            self.record_close(limit.into(), closed_client);
        }
        (connection, closed.is_some())
    }

    /// Waits for a free descriptor. Unless a connection `is_closing` already, it closes the oldest one.
    async fn descriptor(&self, connection: &Connection, mut is_closing: bool) -> OwnedSemaphorePermit {
        loop {
            if let Ok(descriptor) = self.descriptors.clone().try_acquire_owned() {
                return descriptor;
            }
            if !is_closing {
                match self.table.close_oldest_except(connection) {
                    Some(client) => self.record_close(HandshakeCause::FileDescriptors, client),
                    None => self.waits.count(()),
                }
            }
            let free = self.descriptors.clone().acquire_owned();
            if let Ok(descriptor) = timeout(CLOSE_TIMEOUT, free).await {
                return descriptor.expect("the semaphore is never closed");
            }
            is_closing = false;
        }
    }

    fn record_close(&self, cause: HandshakeCause, client: IpAddr) {
        self.closes[cause as usize].count((cause, client));
    }
}

fn log_closes(connections: u64, (cause, client): (HandshakeCause, IpAddr)) {
    tracing::warn!(
        cause = cause.as_str(),
        connections,
        client_ip = %client,
        "closed connections that had not completed the WebSocket handshake"
    );
}

impl HandshakeCause {
    pub(super) const ALL: [Self; 3] = [Self::MaxHandshakes, Self::MaxHandshakesPerIp, Self::FileDescriptors];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::MaxHandshakes => "max_handshakes",
            Self::MaxHandshakesPerIp => "max_handshakes_per_ip",
            Self::FileDescriptors => "file_descriptors",
        }
    }
}

impl From<Limit> for HandshakeCause {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Total => Self::MaxHandshakes,
            Limit::PerIp => Self::MaxHandshakesPerIp,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;

    use super::*;

    fn handshakes(max_sockets: usize, limits: HandshakeLimits) -> Handshakes {
        let mut handshakes = Handshakes::new(limits, Descriptors::unlimited());
        handshakes.descriptors = Arc::new(Semaphore::new(max_sockets));
        handshakes
    }

    fn limits(max_handshakes: usize, max_handshakes_per_ip: usize, trusted_proxies: &[&str]) -> HandshakeLimits {
        let trusted_proxies = trusted_proxies.iter().map(|network| network.parse().expect("a network")).collect();
        HandshakeLimits { max_handshakes: Some(max_handshakes), max_handshakes_per_ip, trusted_proxies }
    }

    /// Returns the counts of [`HandshakeCause::ALL`].
    fn closes(handshakes: &Handshakes) -> [u64; 3] {
        handshakes.closes().map(|(_, count)| count)
    }

    #[test]
    fn trusted_proxies_are_exempt_from_the_limit_per_ip_only() {
        let handshakes = handshakes(100, limits(4, 1, &["10.0.0.0/8"]));
        let [proxy, behind_nat64] = ["::ffff:10.1.2.3", "64:ff9b::10.1.2.3"].map(|ip| ip.parse().expect("an address"));
        let _four = [proxy, proxy, behind_nat64, behind_nat64].map(|proxy| handshakes.insert(proxy));
        assert_eq!((handshakes.pending(), closes(&handshakes)), (4, [0, 0, 0]));
        let _fifth = handshakes.insert(proxy);
        assert_eq!((handshakes.pending(), closes(&handshakes)), (4, [1, 0, 0]));
        let client = IpAddr::from([192, 0, 2, 1]);
        let _clients = [handshakes.insert(client), handshakes.insert(client)];
        assert_eq!((handshakes.pending(), closes(&handshakes)), (4, [2, 1, 0]));
    }

    #[tokio::test]
    async fn connection_without_a_free_descriptor_closes_the_oldest_handshake_and_waits_for_its_descriptor() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let handshakes = handshakes(3, limits(100, 100, &[]));
        let mut clients = Vec::new();
        let mut begin = async || {
            clients.push(TcpStream::connect(address).await.expect("the kernel accepts"));
            let (stream, client) = listener.accept().await.expect("a connection");
            timeout(Duration::from_secs(60), handshakes.begin(Either::Left(stream), client))
                .await
                .expect("a descriptor in time")
        };
        // A peer: its handshake is complete, and its socket is open.
        let (_, peer) = begin().await;
        for nth in 1..=10 {
            let (connection, socket) = begin().await;
            tokio::spawn(connection.run(async move {
                pending::<()>().await;
                drop(socket);
            }));
            assert_eq!(handshakes.pending(), nth.min(2));
            assert_eq!(handshakes.descriptors.available_permits(), 2_usize.saturating_sub(nth));
        }
        assert_eq!(closes(&handshakes), [0, 0, 8]);
        drop(peer);
        assert_eq!(handshakes.descriptors.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_waits_for_a_descriptor_while_peers_use_all_of_them() {
        let handshakes = handshakes(1, limits(100, 100, &[]));
        let (connection, _) = handshakes.insert([192, 0, 2, 1].into());
        let peer = handshakes.descriptor(&connection, false).await;
        let mut late = pin!(handshakes.descriptor(&connection, false));
        assert!(timeout(10 * CLOSE_TIMEOUT, &mut late).await.is_err());
        assert!(handshakes.waits.total() > 0);
        drop(peer);
        let _descriptor = late.await;
        assert_eq!((handshakes.pending(), closes(&handshakes)), (1, [0, 0, 0]));
    }
}
