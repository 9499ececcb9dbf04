//! Accepts connections, and retries when it cannot.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// The time before a retry. Accepting fails mostly because the process has no free file descriptor.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Returns the next connection. After a failure it waits and tries again, without end.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}
