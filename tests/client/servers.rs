//! Servers to join: hubs over TCP, TLS and in-memory streams, and scripted ones.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use sigver::SignalingHub;
use sigver::client::{Client, Connector, JoinError, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A server and the connector for it.
pub(crate) struct Server {
    pub(crate) connector: Connector,
    /// The URL of the hub.
    pub(crate) url: String,
}

/// Serves the hub at `/signal` over TCP.
pub(crate) async fn tcp(hub: &SignalingHub) -> Server {
    let hub = hub.clone();
    let address = listen(move |socket| serve(socket, hub.clone())).await;
    let url = format!("ws://{address}/signal");
    Server { connector: connector(&url), url }
}

/// Serves the hub at `/signal` over TLS. The connector trusts its certificate.
pub(crate) async fn tls(hub: &SignalingHub) -> Server {
    let hub = hub.clone();
    let (acceptor, pem) = certificate(CertificateParams::new(["127.0.0.1".to_owned()]).expect("a valid name"));
    let address = listen(move |socket| {
        let (acceptor, hub) = (acceptor.clone(), hub.clone());
        async move {
            // Some clients reject the certificate.
            if let Ok(socket) = acceptor.accept(socket).await {
                serve(socket, hub).await;
            }
        }
    })
    .await;
    let url = format!("wss://{address}/signal");
    Server { connector: connector(&url).ca(pem).expect("a valid certificate"), url }
}

/// Returns a self-signed certificate with its PEM text.
pub(crate) fn certificate(params: CertificateParams) -> (TlsAcceptor, String) {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("the key belongs to the certificate");
    (TlsAcceptor::from(Arc::new(config)), certificate.pem())
}

/// Serves one connection with the hub at `/signal`.
pub(crate) async fn serve<S>(socket: S, hub: SignalingHub)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = sigver::hyper::service(hub).at("/signal");
    // The client's side of the test checks how the connection ends.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
}

/// Passes every connection to `serve`. Returns the address.
pub(crate) async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> std::net::SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

pub(crate) fn connector(url: &str) -> Connector {
    Connector::new(url).expect("a valid URL")
}

/// Reads a request up to its end. Returns its head.
pub(crate) async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("UTF-8")
}

/// Returns the response that accepts a request.
pub(crate) fn accept(request: &str) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The result of a handshake over a byte stream.
pub(crate) type Handshake = Result<Client<WebSocket<DuplexStream>>, JoinError>;

/// Performs a handshake with a server that sends these bytes after the request. The connection stays open, and the
/// server's end of it is returned.
pub(crate) async fn handshake(respond: impl FnOnce(&str) -> Vec<u8>) -> (Handshake, DuplexStream) {
    let (client_end, mut server_end) = duplex(1 << 20);
    let server = async {
        let request = read_request(&mut server_end).await;
        // The client may close the connection before it has read everything.
        let _: std::io::Result<()> = server_end.write_all(&respond(&request)).await;
    };
    let connector = connector("ws://example.org/signal");
    let (handshake, ()) = tokio::join!(connector.handshake(client_end, "K"), server);
    (handshake, server_end)
}

/// Returns a client whose server is the other end of the stream.
pub(crate) async fn open() -> (Client<WebSocket<DuplexStream>>, DuplexStream) {
    let (client, server) = handshake(|request| accept(request).into_bytes()).await;
    (client.expect("a valid handshake"), server)
}
