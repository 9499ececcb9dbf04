//! Accepts connections, and retries when it cannot.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(not(unix))]
use tokio::io::Empty as UnixStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::time::sleep;
use tokio_util::either::Either;

use super::counted_log::CountedLog;
#[cfg(unix)]
use super::unix_socket::UnixSocket;
use crate::config::ListenAddress;
#[cfg(unix)]
use crate::config::UNIX_CLIENT;

/// The time before a retry when the system has no resources for a connection. Without it, the loop would spin.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A connection over TCP or over a Unix socket.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A socket that listens, and the log of its failures.
pub(super) struct Listener {
    socket: ListeningSocket,
    failures: CountedLog<io::Error>,
}

enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl Listener {
    /// Listens on the first of these addresses that can be bound. Returns that address as well.
    pub(super) async fn bind_tcp(address: impl ToSocketAddrs) -> io::Result<(ListenAddress, Self)> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?.into();
        Ok((address, Self { socket: ListeningSocket::Tcp(socket), failures: failure_log() }))
    }

    /// Listens on a TCP port or a Unix socket. Returns its address as well, with the port in place of 0.
    pub(super) async fn bind(address: &ListenAddress) -> io::Result<(ListenAddress, Self)> {
        match address {
            ListenAddress::Tcp { host, port } => Self::bind_tcp((&**host, *port)).await,
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                let socket = ListeningSocket::Unix(UnixSocket::bind(path).await?);
                Ok((ListenAddress::Unix(path.clone()), Self { socket, failures: failure_log() }))
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Returns the next connection and its address, for a Unix socket [`UNIX_CLIENT`] and port 0. Retries after every
    /// failure, indefinitely.
    pub(super) async fn accept(&self) -> (Stream, SocketAddr) {
        accept_from(async || self.socket.accept().await, &self.failures).await
    }

    /// Logs the failures whose minute has passed.
    pub(super) fn write_due(&self) {
        self.failures.write_due();
    }

    /// Logs all failures, before the server ends.
    pub(super) fn write_all(&self) {
        self.failures.write_all();
    }
}

impl ListeningSocket {
    async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, client)| (Either::Left(stream), client)),
            #[cfg(unix)]
            Self::Unix(socket) => Ok((Either::Right(socket.accept().await?), (UNIX_CLIENT, 0).into())),
        }
    }
}

fn failure_log() -> CountedLog<io::Error> {
    CountedLog::new(|failures, error| tracing::warn!(failures, %error, "accept failed"))
}

async fn accept_from<T>(mut accept: impl AsyncFnMut() -> io::Result<T>, failures: &CountedLog<io::Error>) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_out_of_resources(&error) => {
                failures.count(error);
                sleep(RETRY_DELAY).await;
            }
            // The failure of one connection, for example one that its client closed early. The next may be accepted.
            Err(error) => tracing::debug!(%error, "accept failed"),
        }
    }
}

#[cfg(unix)]
fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(not(unix))]
fn is_out_of_resources(error: &io::Error) -> bool {
    const WSAEMFILE: i32 = 10_024;
    const WSAENOBUFS: i32 = 10_055;
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
}

#[cfg(all(test, unix))]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Accepts a connection after these failures. Returns the time that it takes, and the number of logged failures.
    async fn time_to_accept(codes: &[i32]) -> (Duration, u64) {
        let (start, log) = (Instant::now(), failure_log());
        let mut codes = codes.iter();
        let accept = async || codes.next().map_or(Ok(()), |&code| Err(io::Error::from_raw_os_error(code)));
        accept_from(accept, &log).await;
        (start.elapsed(), log.total())
    }

    #[tokio::test(start_paused = true)]
    async fn accept_waits_only_while_the_system_has_no_resources() {
        assert_eq!(time_to_accept(&[libc::ECONNABORTED, libc::EPROTO, libc::EHOSTUNREACH]).await, (Duration::ZERO, 0));
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        assert_eq!(time_to_accept(&exhausted).await, (4 * RETRY_DELAY, 4));
    }
}
