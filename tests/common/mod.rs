//! Opens WebSockets to a server that listens on TCP.

pub(crate) mod websocket;

use sigver::client::WebSocket;
use sigver::memory::TestClient;
use tokio::net::{TcpStream, ToSocketAddrs};

/// Opens `ws://ADDRESS/PATH`; `path` begins with a slash.
pub(crate) async fn open(address: impl ToSocketAddrs, path: &str) -> TestClient<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let transport = websocket::try_open(&format!("ws://localhost{path}"), stream).await;
    TestClient::new(transport.unwrap_or_else(|status| panic!("the server rejected the handshake with {status}")))
}
