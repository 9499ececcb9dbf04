//! Opens WebSockets over TCP.

use sigver::Transport;
use sigver::memory::TestClient;
use tokio::net::{TcpStream, ToSocketAddrs};

/// Opens `ws://ADDRESS/PATH`; `path` begins with a slash.
pub(crate) async fn open<A: ToSocketAddrs>(address: A, path: &str) -> TestClient<impl Transport + Unpin + use<A>> {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let url = format!("ws://localhost{path}");
    let (stream, _) = tokio_tungstenite::client_async(url, socket).await.expect("a WebSocket handshake");
    TestClient::new(sigver::hyper::transport(stream))
}
