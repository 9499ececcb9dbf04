//! Opens WebSockets over HTTP/2 (RFC 8441).

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sigver::memory::TestClient;
use sigver::{Transport, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The client's end of a connection to a server with a hub at `/signal`.
pub(crate) struct Http2Client {
    requests: SendRequest<Empty<Bytes>>,
}

impl Http2Client {
    /// Opens a connection, and waits until the server has sent its settings.
    pub(crate) async fn connect(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
        let (mut requests, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        // hyper rejects an extended CONNECT until it has received the server's settings. The first response follows
        // them.
        let plain = Request::get("http://localhost/signal/K").body(Empty::new()).expect("a request");
        let response = requests.send_request(plain).await.expect("a response");
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        Self { requests }
    }

    /// Sends an extended CONNECT for `/signal/K`.
    async fn extended_connect(&mut self, protocol: &'static str, version: &str) -> Response<Incoming> {
        let connect = Request::connect("http://localhost/signal/K")
            .version(Version::HTTP_2)
            .header("sec-websocket-version", version)
            .extension(Protocol::from_static(protocol))
            .body(Empty::new())
            .expect("a request");
        self.requests.send_request(connect).await.expect("a response")
    }

    /// Checks that the hub answers 426 to another protocol, and to another version of WebSockets.
    pub(crate) async fn assert_others_are_rejected(&mut self) {
        let response = self.extended_connect("connect-udp", "13").await;
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        let response = self.extended_connect("websocket", "8").await;
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
    }

    /// Opens a WebSocket of the group `K`.
    pub(crate) async fn open(&mut self) -> TestClient<impl Transport<Err = TransportError> + Unpin + use<>> {
        let response = self.extended_connect("websocket", "13").await;
        assert_eq!(response.status(), StatusCode::OK);
        let upgraded = TokioIo::new(hyper::upgrade::on(response).await.expect("an upgrade"));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        TestClient::new(sigver::hyper::transport(stream))
    }
}
