//! The connections that have not completed the WebSocket handshake, and the descriptors of all connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sigver::hyper::ConnectionLimiter;
use sigver::hyper::limiter::{CloseCause, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::listener::Listener;
use super::socket::Socket;
use crate::descriptors::Descriptors;

/// How long to wait for the descriptor of a closed connection. Then the next oldest is closed, because the first may
/// have completed its handshake meanwhile and keep its descriptor.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Counts connections from the accept to the WebSocket upgrade, and open sockets from the accept to their close. When
/// a limit is reached, it closes the oldest connection that has not completed its handshake.
pub(super) struct Handshakes {
    limiter: ConnectionLimiter,
    /// One permit for each socket that the public listener may still open.
    descriptors: Arc<Semaphore>,
}

impl Handshakes {
    /// Why it closes connections.
    const CAUSES: [CloseCause; 3] =
        [CloseCause::MaxHandshakes, CloseCause::MaxHandshakesPerIp, CloseCause::FileDescriptors];

    pub(super) fn new(limiter: ConnectionLimiter, descriptors: Descriptors) -> Self {
        Self { limiter, descriptors: Arc::new(Semaphore::new(descriptors.max_sockets().min(Semaphore::MAX_PERMITS))) }
    }

    /// Accepts the next connection. If all descriptors are in use, it waits for one.
    pub(super) async fn accept(&self, listener: &Listener) -> (Socket, SocketAddr, Connection) {
        let before = self.total_closes();
        let (stream, client, connection) = self.limiter.accept_from(|| listener.accept()).await;
        let is_closing = self.total_closes() > before;
        let descriptor = self.descriptor(&connection, is_closing).await;
        (Socket::new(stream, descriptor), client, connection)
    }

    /// Returns the number of connections that have not completed their handshake.
    pub(super) fn pending(&self) -> usize {
        self.limiter.handshakes()
    }

    /// Returns how many connections each cause has closed.
    pub(super) fn closes(&self) -> [(CloseCause, u64); 3] {
        Self::CAUSES.map(|cause| (cause, self.limiter.closes(cause)))
    }

    /// Logs all closed connections, before the server ends.
    pub(super) fn flush_log(&self) {
        self.limiter.flush_log();
    }

    /// Waits for a free descriptor. Unless a connection `is_closing` already, it closes the oldest one.
    async fn descriptor(&self, connection: &Connection, mut is_closing: bool) -> OwnedSemaphorePermit {
        loop {
            if let Ok(descriptor) = self.descriptors.clone().try_acquire_owned() {
                return descriptor;
            }
            if !is_closing {
                // If all belong to peers, the limiter logs that, and the connection waits.
                _ = self.limiter.close_oldest_other(connection);
            }
            let free = self.descriptors.clone().acquire_owned();
            if let Ok(descriptor) = timeout(CLOSE_TIMEOUT, free).await {
                return descriptor.expect("the semaphore is never closed");
            }
            is_closing = false;
        }
    }

    fn total_closes(&self) -> u64 {
        self.closes().iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use tokio::net::TcpStream;

    use super::*;

    fn handshakes(max_sockets: usize) -> Handshakes {
        Handshakes { limiter: ConnectionLimiter::new(), descriptors: Arc::new(Semaphore::new(max_sockets)) }
    }

    /// Returns the counts of [`Handshakes::CAUSES`].
    fn closes(handshakes: &Handshakes) -> [u64; 3] {
        handshakes.closes().map(|(_, count)| count)
    }

    #[tokio::test]
    async fn connection_without_a_free_descriptor_closes_the_oldest_handshake_and_waits_for_its_descriptor() {
        let (_, listener) = Listener::bind_tcp("127.0.0.1:0").await.expect("a free port");
        let Listener::Tcp(tcp) = &listener else { panic!("a TCP listener") };
        let address = tcp.local_addr().expect("a bound socket has an address");
        let handshakes = handshakes(3);
        let mut clients = Vec::new();
        let mut accept = async || {
            clients.push(TcpStream::connect(address).await.expect("the kernel accepts"));
            let accepted = timeout(Duration::from_secs(60), handshakes.accept(&listener));
            let (socket, _, connection) = accepted.await.expect("a descriptor in time");
            (connection, socket)
        };
        // A peer: its handshake is complete, and its socket is open.
        let (_, peer) = accept().await;
        for nth in 1..=10 {
            let (connection, socket) = accept().await;
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
        let handshakes = handshakes(1);
        let connection = handshakes.limiter.accept([192, 0, 2, 1].into());
        let peer = handshakes.descriptor(&connection, false).await;
        let mut late = pin!(handshakes.descriptor(&connection, false));
        assert!(timeout(10 * CLOSE_TIMEOUT, &mut late).await.is_err());
        drop(peer);
        let _descriptor = late.await;
        assert_eq!((handshakes.pending(), closes(&handshakes)), (1, [0, 0, 0]));
    }
}
