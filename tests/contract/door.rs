//! The ways into a hub, all alike to a peer.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ConnectInfo;
use axum::extract::ws::WebSocketUpgrade;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sigver::memory::TestClient;
use sigver::{Frame, JoinRequest, SignalingHub, Transport, TransportError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};
use warp::Filter as _;
use warp::path::FullPath;
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
pub(crate) type Peer = TestClient<Pin<Box<AnyTransport>>>;
type AnyTransport = dyn Transport<Err = TransportError, Error = TransportError, Item = Result<Frame, TransportError>>;

/// A byte stream to a server.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A request for a peer's socket.
#[derive(Clone, Debug)]
pub(crate) struct Knock {
    tail: String,
    headers: Vec<(&'static str, String)>,
}

impl Knock {
    /// `tail` is what the URL has behind the mount and its slash: `KEY?favored`.
    pub(crate) fn at(tail: impl Into<String>) -> Self {
        Self { tail: tail.into(), headers: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// By way of a proxy on this machine, from that address.
    pub(crate) fn from(self, address: impl Into<String>) -> Self {
        self.header("x-forwarded-for", address)
    }

    fn request(&self, base: &str) -> Request<()> {
        let url = format!("{base}{}", self.tail);
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in &self.headers {
            request.headers_mut().append(*name, value.parse().expect("a header's value"));
        }
        request
    }
}

/// How a peer was refused.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    Http(u16),
    Closed(u16),
}

/// A way into a hub.
#[async_trait]
pub(crate) trait Door: Send + Sync {
    /// Opens a peer's socket, or gets a status other than 101.
    async fn knock(&self, knock: Knock) -> Result<Peer, u16>;

    /// Opens a peer's socket. `tail` is what the URL has behind the mount and its slash: `KEY?favored`.
    async fn open(&self, tail: &str) -> Peer {
        self.knock(Knock::at(tail)).await.expect("a handshake")
    }

    /// Opens a socket for who is refused.
    async fn refused(&self, knock: Knock) -> Refused {
        match self.knock(knock).await {
            Ok(mut peer) => Refused::Closed(peer.recv_close().await),
            Err(status) => Refused::Http(status),
        }
    }

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
    /// How who gets this status is refused here: by this code where the handshake is not the hub's.
    pub(crate) fn rejection(self, status: u16, code: u16) -> Refused {
        match self {
            Self::Hyper | Self::Axum | Self::Warp | Self::StandAlone | Self::StandAloneTls => Refused::Http(status),
            Self::Memory | Self::AppHyper | Self::AppAxum | Self::AppWarp => Refused::Closed(code),
        }
    }

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
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            Self::Warp => {
                let app = warp::path("signal").and(sigver::warp::filter(hub));
                tokio::spawn(warp::serve(app).incoming(listener).run());
            }
            Self::Hyper => {
                let service = sigver::hyper::service(hub).at("/signal");
                tokio::spawn(serve_hyper(listener, move |client| service.client(client)));
            }
            Self::AppAxum => {
                let signal = async move |upgrade: WebSocketUpgrade, client: ConnectInfo<SocketAddr>, head: Parts| {
                    let request = request(client.0, head);
                    sigver::axum::configure(upgrade, &hub).on_upgrade(async move |socket| {
                        hub.serve(sigver::axum::transport(socket), request).await;
                    })
                };
                let app = axum::Router::new().fallback(signal);
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                tokio::spawn(async move { axum::serve(listener, app).await });
            }
            Self::AppWarp => {
                let query = warp::query::raw().or(warp::any().map(String::new)).unify();
                let head = warp::path::full().and(query).and(warp::header::headers_cloned()).and(warp::addr::remote());
                let app = head.and(warp::ws()).map(
                    move |path: FullPath, query: String, headers, client: Option<SocketAddr>, upgrade: Ws| {
                        let (mut head, ()) = Request::new(()).into_parts();
                        head.uri = format!("{}?{query}", path.as_str()).trim_end_matches('?').parse().expect("a URI");
                        head.headers = headers;
                        let (hub, request) = (hub.clone(), request(client.expect("over TCP"), head));
                        sigver::warp::configure(upgrade, &hub).on_upgrade(async move |socket| {
                            hub.serve(sigver::warp::transport(socket), request).await;
                        })
                    },
                );
                tokio::spawn(warp::serve(app).incoming(listener).run());
            }
            Self::AppHyper => {
                let app = move |client| {
                    let hub = hub.clone();
                    service_fn(move |mut request: Request<Incoming>| {
                        let hub = hub.clone();
                        let config = Some(sigver::hyper::websocket_config(&hub));
                        let upgrade = hyper_tungstenite::upgrade(&mut request, config);
                        let (response, socket) = upgrade.expect("the contract opens WebSockets here");
                        let request = request(client, request.into_parts().0);
                        tokio::spawn(async move {
                            if let Ok(socket) = socket.await {
                                hub.serve(sigver::hyper::transport(socket), request).await;
                            }
                        });
                        ready(Ok::<_, Infallible>(response))
                    })
                };
                tokio::spawn(serve_hyper(listener, app));
            }
            other => unreachable!("{other:?} mounts no hub"),
        }
        Box::new(Mounted { address })
    }
}

/// Who asks for a socket of the app's own upgrading.
fn request(client: SocketAddr, head: Parts) -> JoinRequest {
    let tail = head.uri.path().strip_prefix("/signal").expect("the contract stays below the mount");
    let opening = JoinRequest::from_url(tail.strip_prefix('/').unwrap_or(tail), head.uri.query());
    JoinRequest::from(opening).with_client_ip(client.ip()).with_parts(head)
}

async fn serve_hyper<S>(listener: TcpListener, service: impl Fn(SocketAddr) -> S) -> Infallible
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    loop {
        let (socket, client) = listener.accept().await.expect("the listener works");
        let service = service(client);
        tokio::spawn(async move {
            // How a peer's connection ends is for the peer's side of the test to see.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
        });
    }
}

struct Memory(SignalingHub);

#[async_trait]
impl Door for Memory {
    async fn knock(&self, knock: Knock) -> Result<Peer, u16> {
        let (key, query) = knock.tail.split_once('?').map_or((&*knock.tail, None), |(key, query)| (key, Some(query)));
        let opening = JoinRequest::from_url(key, query);
        // A key that is in no URL can be said in memory all the same.
        let tail = format!("?{}", query.unwrap_or_default());
        let head = Knock { tail, ..knock.clone() }.request("ws://localhost/").into_parts().0;
        let request = JoinRequest::from(opening).with_client_ip([127, 0, 0, 1].into()).with_parts(head);
        let (there, here) = sigver::memory::pair(16);
        let hub = self.0.clone();
        tokio::spawn(async move { hub.serve(there, request).await });
        Ok(TestClient::new(Box::pin(here)))
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
    async fn knock(&self, knock: Knock) -> Result<Peer, u16> {
        websocket(self, "/signal", &knock).await
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
    async fn knock(&self, knock: Knock) -> Result<Peer, u16> {
        websocket(self, "", &knock).await
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

async fn websocket(door: &dyn Door, mount: &str, knock: &Knock) -> Result<Peer, u16> {
    let slash = if knock.tail.starts_with('?') && !mount.is_empty() { "" } else { "/" };
    let request = knock.request(&format!("ws://localhost{mount}{slash}"));
    match tokio_tungstenite::client_async(request, door.socket().await).await {
        Ok((stream, _)) => Ok(TestClient::new(Box::pin(sigver::hyper::transport(stream)))),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("a WebSocket handshake, but {error}"),
    }
}
