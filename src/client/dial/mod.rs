//! Joins a hub over ws:// or wss://: URL -> DNS -> TCP -> TLS -> WebSocket handshake.

mod connector;
mod deadline;
mod handshake;
mod join_error;
mod race;
mod response;
mod socket;
mod tls;
mod url;
mod websocket;

use super::Client;

pub use connector::Connector;
pub use join_error::{JoinError, JoinStep};
pub use response::InvalidResponse;
pub use socket::Socket;
pub use websocket::WebSocket;

/// Joins the group of `key` at the hub whose URL is `base`: opens the WebSocket `BASE/KEY`. [`Connector`] has settings:
/// headers, CA certificates and the timeout, which is 10 s here.
///
/// `base` is the URL at which the server mounts the hub, without the key: `wss://example.org/signal`.
///
/// ```no_run
/// use sigver::client::{self, Event};
/// use sigver::protocol::MemberId;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = client::join("wss://example.org/signal", "the group's key").await?;
/// if client.connect(MemberId(0xa11c_e000), &[]).await? {
///     let event: Event = client.recv().await?; // this peer is a member, and waits for joiners
/// }
/// # Ok(()) }
/// ```
///
/// # Cancel safety, errors and panics
/// As [`Connector::join`].
pub async fn join(base: &str, key: &str) -> Result<Client<WebSocket>, JoinError> {
    Connector::new(base)?.join(key).await
}
