//! The limiter of a listener's connections.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::accept_error::AcceptError;
use super::close_cause::CloseCause;
use super::connection::Connection;
use super::counted_log::CountedLog;
use super::handle::ConnectionHandle;
use super::table::{Settings, Table};

/// The pause after an accept that failed. Without it, the loop would spin.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(200);
/// The pause after a failed accept for which a connection was closed. Its task needs a moment to close the socket.
pub(super) const CLOSE_DELAY: Duration = Duration::from_millis(5);
/// The interval at which an accept that waits looks for counts to log.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Limits the connections of a listener that have no WebSocket: see the [module](super).
///
/// It is a cheap handle. All clones limit the same connections.
#[derive(Clone)]
pub struct ConnectionLimiter(Arc<Inner>);

struct Inner {
    name: Option<Arc<str>>,
    table: Arc<Table>,
    /// Accepts that failed for lack of resources, or for an unknown reason.
    failures: CountedLog<(Option<Arc<str>>, io::Error)>,
    /// The times at which no connection could be closed for a new one.
    waits: CountedLog<Option<Arc<str>>>,
}

impl ConnectionLimiter {
    pub(super) fn with(settings: Settings) -> Self {
        let name = settings.name.clone();
        let failures = CountedLog::new(|failures, (limiter, error): (Option<Arc<str>>, _)| {
            tracing::warn!(limiter = limiter.as_deref(), failures, %error, "accept failed");
        });
        let waits = CountedLog::new(|_, limiter: Option<Arc<str>>| {
            tracing::warn!(
                limiter = limiter.as_deref(),
                "no file descriptor is free, and every connection has a WebSocket; new connections wait"
            );
        });
        Self(Arc::new(Inner { name, table: Arc::new(Table::new(settings)), failures, waits }))
    }

    /// Accepts the next connection, with a function such as `|| listener.accept()`. Returns the socket and its address
    /// as well. It retries after every failure, indefinitely:
    ///
    /// - after the failure of one connection, for example one that its client has closed, at once
    /// - if the process has no free file descriptor, after it has closed the oldest connection, as
    ///   [`ConnectionLimiter::close_oldest`] does
    /// - otherwise after 200 ms
    ///
    /// The log shows the failures of the last two kinds at the level `warn`, at most once per minute, with a count.
    ///
    /// # Cancel safety
    /// Cancel safe if the future of the function is, as those of tokio's listeners are.
    pub async fn accept_from<S, F>(&self, mut accept: impl FnMut() -> F) -> (S, SocketAddr, Connection)
    where
        F: Future<Output = io::Result<(S, SocketAddr)>>,
    {
        loop {
            let error = match self.log_during(accept()).await {
                Ok((socket, client)) => return (socket, client, self.accept(client.ip())),
                Err(error) => error,
            };
            match AcceptError::of(&error) {
                AcceptError::OneConnection => {
                    tracing::debug!(limiter = self.0.name.as_deref(), %error, "accept failed");
                }
                AcceptError::OutOfResources => {
                    self.0.failures.count((self.0.name.clone(), error));
                    sleep(if self.close_oldest() { CLOSE_DELAY } else { RETRY_DELAY }).await;
                }
                AcceptError::Other => {
                    self.0.failures.count((self.0.name.clone(), error));
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Counts a connection from this client, which the app has accepted itself. If that exceeds a limit, the oldest
    /// idle connection closes. It never waits.
    ///
    /// Prefer [`ConnectionLimiter::accept_from`], which also handles a failed accept.
    pub fn accept(&self, client: IpAddr) -> Connection {
        self.write_due();
        let table = self.0.table.clone();
        let (id, changed) = table.insert(client);
        Connection::new(ConnectionHandle::new(table, id, client, changed))
    }

    /// Closes the oldest connection to free its file descriptor: the oldest idle one, or the oldest with a request in
    /// progress if there are more of those. Returns false if all connections have a WebSocket, or there are none. The
    /// task of the connection then closes its socket.
    pub fn close_oldest(&self) -> bool {
        self.close_oldest_except(None)
    }

    /// Closes a connection as [`ConnectionLimiter::close_oldest`] does, but not this one. For a server that counts its
    /// sockets, and has accepted one that it cannot serve yet.
    pub fn close_oldest_other(&self, connection: &Connection) -> bool {
        self.close_oldest_except(Some(connection.handle().id()))
    }

    /// Returns the number of idle connections, which count against `max_handshakes`.
    pub fn handshakes(&self) -> usize {
        self.0.table.idle()
    }

    /// Returns the number of connections with a request in progress, which count against `max_busy_connections`.
    pub fn busy_connections(&self) -> usize {
        self.0.table.busy()
    }

    /// Returns the number of connections that the limiter has closed for this cause.
    pub fn closes(&self, cause: CloseCause) -> u64 {
        self.0.table.closes.count(cause)
    }

    /// Logs what has been counted since the last line, before its minute is over. Call it before the process ends.
    ///
    /// [`ConnectionLimiter::accept_from`] and [`ConnectionLimiter::accept`] log what is due.
    pub fn flush_log(&self) {
        self.0.table.closes.write_all();
        self.0.failures.write_all();
        self.0.waits.write_all();
    }

    fn close_oldest_except(&self, id: Option<u64>) -> bool {
        let found = self.0.table.close_oldest_except(id);
        if !found {
            self.0.waits.count(self.0.name.clone());
        }
        found
    }

    /// Logs what is due while a future runs.
    async fn log_during<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            match timeout(LOG_INTERVAL, &mut future).await {
                Ok(output) => return output,
                Err(_) => self.write_due(),
            }
        }
    }

    fn write_due(&self) {
        self.0.table.closes.write_due();
        self.0.failures.write_due();
        self.0.waits.write_due();
    }
}

impl fmt::Debug for ConnectionLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ConnectionLimiter");
        shown.field("name", &self.0.name).field("handshakes", &self.handshakes());
        shown.field("busy_connections", &self.busy_connections()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Accepts a connection after these failures. Returns the time that it takes, in milliseconds.
    async fn time_to_accept(limiter: &ConnectionLimiter, errors: Vec<io::Error>) -> u128 {
        let start = Instant::now();
        let mut errors = errors.into_iter();
        let client = SocketAddr::from(([192, 0, 2, 1], 7));
        let accepted = limiter.accept_from(|| std::future::ready(errors.next().map_or(Ok(((), client)), Err))).await;
        assert_eq!(accepted.1, client);
        start.elapsed().as_millis()
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn accept_waits_only_if_the_failure_is_not_that_of_one_connection() {
        let limiter = ConnectionLimiter::new();
        let errors = |codes: &[i32]| codes.iter().map(|&code| io::Error::from_raw_os_error(code)).collect();
        let of_one = [libc::ECONNABORTED, libc::EPROTO, libc::EHOSTUNREACH, libc::EPERM, libc::EINTR];
        assert_eq!(time_to_accept(&limiter, errors(&of_one)).await, 0);
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        assert_eq!(time_to_accept(&limiter, errors(&exhausted)).await, 4 * 200);
        assert_eq!(time_to_accept(&limiter, errors(&[libc::EINVAL])).await, 200);
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn accept_without_a_free_descriptor_closes_the_oldest_connection_and_retries_soon() {
        let limiter = ConnectionLimiter::new();
        let connections = [(); 3].map(|()| limiter.accept([192, 0, 2, 1].into()));
        let errors = |count| (0..count).map(|_| io::Error::from_raw_os_error(libc::EMFILE)).collect();
        assert_eq!(time_to_accept(&limiter, errors(2)).await, 2 * 5);
        assert_eq!((limiter.handshakes(), limiter.closes(CloseCause::FileDescriptors)), (1, 2));
        // One of the three is left.
        assert_eq!(time_to_accept(&limiter, errors(3)).await, 5 + 2 * 200);
        assert_eq!(limiter.closes(CloseCause::FileDescriptors), 3);
        drop(connections);
    }

    #[tokio::test(start_paused = true)]
    async fn accept_that_is_dropped_accepts_nothing() {
        let limiter = ConnectionLimiter::new();
        let accept = limiter.accept_from(std::future::pending::<io::Result<((), SocketAddr)>>);
        assert!(timeout(Duration::from_secs(60), accept).await.is_err());
        assert_eq!(limiter.handshakes(), 0);
    }
}
