//! The client's WebSocket handshake over a connected byte stream.

use std::time::Duration;

use sigver::client::{Connector, JoinError, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

/// A handshake takes long on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns a connector for a URL that contains its key.
pub(crate) fn connector(url: &str) -> Connector {
    Connector::new(url).expect("the URL is valid")
}

/// Opens a URL that contains its key. Returns the status if the server rejects the handshake.
///
/// # Panics
/// If the handshake fails without a status.
pub(crate) async fn try_open<S>(url: &str, stream: S) -> Result<WebSocket<S>, u16>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    try_open_with(connector(url), stream).await
}

/// Opens the URL of a connector as [`try_open`] does.
pub(crate) async fn try_open_with<S>(connector: Connector, stream: S) -> Result<WebSocket<S>, u16>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    match connector.timeout(TIMEOUT).handshake_url(stream).await {
        Ok(client) => Ok(client.into_transport()),
        Err(JoinError::Rejected { status, .. }) => Err(status),
        Err(error) => panic!("the WebSocket handshake failed: {error:?}"),
    }
}
