//! Accepts connections, and retries when it cannot.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// The time before a retry when the system has no resources for a connection. Without it, the loop would spin.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Returns the next connection. Retries after every failure, indefinitely.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    accept_from(async || listener.accept().await).await
}

async fn accept_from<T>(mut accept: impl AsyncFnMut() -> io::Result<T>) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_out_of_resources(&error) => {
                tracing::warn!(%error, "accept failed");
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

    /// Returns the time that it takes to accept a connection after these failures.
    async fn time_to_accept(failures: &[i32]) -> Duration {
        let start = Instant::now();
        let mut failures = failures.iter();
        accept_from(async || failures.next().map_or(Ok(()), |&code| Err(io::Error::from_raw_os_error(code)))).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn accept_waits_only_while_the_system_has_no_resources() {
        assert_eq!(time_to_accept(&[libc::ECONNABORTED, libc::EPROTO, libc::EHOSTUNREACH]).await, Duration::ZERO);
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        assert_eq!(time_to_accept(&exhausted).await, 4 * RETRY_DELAY);
    }
}
