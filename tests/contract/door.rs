//! The ways into a hub, all alike to a peer.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ws::WebSocketUpgrade;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use sigver::memory::Client;
use sigver::{Frame, Opening, SignalingHub, Transport, TransportError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use warp::Filter as _;
use warp::path::Tail;
use warp::ws::Ws;

/// Pauses the clock where there is no network, and fails a test that hangs instead of hanging with it.
pub(crate) async fn in_time(kind: Kind, test: impl Future<Output = ()>) {
    let mut limit = Duration::from_secs(60);
    if kind == Kind::Memory {
        tokio::time::pause();
        limit *= 60;
    }
    tokio::time::timeout(limit, test).await.expect("the test hangs");
}

/// A peer, whatever it came in by.
pub(crate) type Peer = Client<Pin<Box<AnyTransport>>>;
type AnyTransport = dyn Transport<Fault = TransportError, Error = TransportError, Item = Result<Frame, TransportError>>;

/// A byte stream to a server.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A way into a hub.
#[async_trait]
pub(crate) trait Door: Send + Sync {
    /// Opens a peer's socket. `tail` is what the URL has behind the mount and its slash: `KEY?favored`.
    async fn open(&self, tail: &str) -> Peer;

    /// A bare connection to the server, where there is one.
    async fn socket(&self) -> Box<dyn Socket>;

    /// The path that signaling is mounted at: empty, or with a slash at its start.
    fn mount(&self) -> &'static str;
}

/// Which door.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Memory,
    Hyper,
    Axum,
    Warp,
    StandAlone,
    StandAloneTls,
    /// The app upgrades the sockets itself.
    AppHyper,
    AppAxum,
    AppWarp,
}

impl Kind {
    /// A server of its own with the default limits.
    pub(crate) async fn open(self) -> Box<dyn Door> {
        match self {
            Self::StandAlone => Box::new(StandAlone::start(None).await),
            Self::StandAloneTls => Box::new(StandAlone::start(Some(Certificate::new())).await),
            _ => self.mount(SignalingHub::new()).await,
        }
    }

    /// A server of its own around a hub.
    pub(crate) async fn mount(self, hub: SignalingHub) -> Box<dyn Door> {
        if self == Self::Memory {
            return Box::new(Memory(hub));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        match self {
            Self::Axum => {
                let app = axum::Router::new().nest_service("/signal", sigver::axum::router(hub));
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            Self::Warp => {
                let app = warp::path("signal").and(sigver::warp::filter(hub));
                tokio::spawn(warp::serve(app).incoming(listener).run());
            }
            Self::Hyper => _ = tokio::spawn(serve_hyper(listener, sigver::hyper::service(hub).at("/signal"))),
            Self::AppAxum => {
                let app = axum::Router::new().fallback(async move |upgrade: WebSocketUpgrade, uri: Uri| {
                    let opening = opening(&uri);
                    sigver::axum::configure(upgrade, &hub).on_upgrade(async move |socket| {
                        hub.serve(sigver::axum::transport(socket), opening).await;
                    })
                });
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            Self::AppWarp => {
                let query = warp::query::raw().or(warp::any().map(String::new)).unify();
                let request = warp::path("signal").and(warp::path::tail()).and(query).and(warp::ws());
                let app = request.map(move |tail: Tail, query: String, upgrade: Ws| {
                    let hub = hub.clone();
                    let opening = Opening::from_url(tail.as_str(), Some(&query));
                    sigver::warp::configure(upgrade, &hub).on_upgrade(async move |socket| {
                        hub.serve(sigver::warp::transport(socket), opening).await;
                    })
                });
                tokio::spawn(warp::serve(app).incoming(listener).run());
            }
            Self::AppHyper => {
                let app = service_fn(move |request: Request<Incoming>| {
                    let (hub, opening) = (hub.clone(), opening(request.uri()));
                    let upgrade = hyper_tungstenite::upgrade(request, Some(sigver::hyper::websocket_config(&hub)));
                    let (response, socket) = upgrade.expect("the contract opens WebSockets here");
                    tokio::spawn(async move {
                        if let Ok(socket) = socket.await {
                            hub.serve(sigver::hyper::transport(socket), opening).await;
                        }
                    });
                    ready(Ok::<_, Infallible>(response))
                });
                tokio::spawn(serve_hyper(listener, app));
            }
            other => unreachable!("{other:?} mounts no hub"),
        }
        Box::new(Mounted { address })
    }
}

/// What a URL below the mount says.
fn opening(uri: &Uri) -> Opening {
    let tail = uri.path().strip_prefix("/signal").expect("the contract stays below the mount");
    Opening::from_url(tail.strip_prefix('/').unwrap_or(tail), uri.query())
}

async fn serve_hyper<S>(listener: TcpListener, service: S) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    loop {
        let (socket, _) = listener.accept().await.expect("the listener works");
        let service = service.clone();
        tokio::spawn(async move {
            // How a peer's connection ends is for the peer's side of the test to see.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
        });
    }
}

struct Memory(SignalingHub);

#[async_trait]
impl Door for Memory {
    async fn open(&self, tail: &str) -> Peer {
        let (key, query) = tail.split_once('?').map_or((tail, None), |(key, query)| (key, Some(query)));
        let (there, here) = sigver::memory::pair(16);
        let (hub, opening) = (self.0.clone(), Opening::from_url(key, query));
        tokio::spawn(async move { hub.serve(there, opening).await });
        Client::new(Box::pin(here))
    }

    async fn socket(&self) -> Box<dyn Socket> {
        unreachable!("there are no bytes in memory")
    }

    fn mount(&self) -> &'static str {
        ""
    }
}

struct Mounted {
    address: SocketAddr,
}

#[async_trait]
impl Door for Mounted {
    async fn open(&self, tail: &str) -> Peer {
        websocket(self, "/signal", tail).await
    }

    async fn socket(&self) -> Box<dyn Socket> {
        connect(self.address).await
    }

    fn mount(&self) -> &'static str {
        "/signal"
    }
}

struct StandAlone {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    /// Killed when it is dropped.
    _process: Child,
    /// The server's certificate is there for as long as the server.
    _certificate: Option<Certificate>,
}

impl StandAlone {
    async fn start(certificate: Option<Certificate>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigver"));
        command.args(["--host", "127.0.0.1", "--port", "0"]).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(certificate) = &certificate {
            let [key, cert] = ["key.pem", "cert.pem"].map(|file| certificate.folder.path().join(file));
            command.arg("--key").arg(key).arg("--cert").arg(cert);
        }
        let mut process = command.spawn().expect("the server starts");
        let output = process.stdout.take().expect("its output is piped");
        let line = BufReader::new(output).lines().next_line().await.expect("it can be read").expect("it says a line");
        let address = line.strip_prefix("Signaling server is listening on ").expect("it says where it listens");
        Self {
            address: address.parse().expect("HOST:PORT"),
            tls: certificate.as_ref().map(|certificate| certificate.connector.clone()),
            _process: process,
            _certificate: certificate,
        }
    }
}

#[async_trait]
impl Door for StandAlone {
    async fn open(&self, tail: &str) -> Peer {
        websocket(self, "", tail).await
    }

    async fn socket(&self) -> Box<dyn Socket> {
        let socket = connect(self.address).await;
        match &self.tls {
            None => socket,
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("a name");
                Box::new(tls.connect(name, socket).await.expect("a TLS handshake"))
            }
        }
    }

    fn mount(&self) -> &'static str {
        ""
    }
}

/// A key and a certificate in a folder of their own, and a client that trusts it.
struct Certificate {
    folder: tempfile::TempDir,
    connector: TlsConnector,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        for (file, pem) in [("key.pem", made.signing_key.serialize_pem()), ("cert.pem", made.cert.pem())] {
            std::fs::write(folder.path().join(file), pem).expect("a file");
        }
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { folder, connector: TlsConnector::from(Arc::new(config)) }
    }
}

async fn connect(address: SocketAddr) -> Box<dyn Socket> {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    socket.set_nodelay(true).expect("an option of TCP");
    Box::new(socket)
}

async fn websocket(door: &dyn Door, mount: &str, tail: &str) -> Peer {
    let slash = if tail.starts_with('?') && !mount.is_empty() { "" } else { "/" };
    let url = format!("ws://localhost{mount}{slash}{tail}");
    let (stream, _) = tokio_tungstenite::client_async(url, door.socket().await).await.expect("a WebSocket handshake");
    Client::new(Box::pin(sigver::hyper::transport(stream)))
}
