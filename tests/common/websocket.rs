//! The client's WebSocket handshake over a connected byte stream.

use sigver::{Transport, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

/// Opens a WebSocket with this request, for example a URL. Returns the status if the server rejects the handshake.
///
/// # Panics
/// If the handshake fails without a status.
pub(crate) async fn try_open<R, S>(
    request: R,
    stream: S,
) -> Result<impl Transport<Err = TransportError> + Unpin + use<R, S>, u16>
where
    R: IntoClientRequest + Unpin,
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((stream, _)) => Ok(sigver::hyper::transport(stream)),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("the WebSocket handshake failed: {error}"),
    }
}
