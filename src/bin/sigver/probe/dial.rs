//! The way to a server: its name, TCP, TLS and the WebSocket handshake.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, ORIGIN};
use sigver::Transport;
use sigver::memory::TestClient;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, ProtocolVersion, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, handshake};

use super::peer::Peer;
use super::report::{Finding, Took};
use super::trouble::Trouble;
use super::{Options, Target};
use crate::tls::{TlsError, certificates};

/// A plain or an encrypted connection.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// How sockets to one server are opened.
pub(super) struct Dial<'a> {
    target: &'a Target,
    origin: Option<&'a HeaderValue>,
    within: Duration,
    tls: Option<Tls>,
}

/// Whom to trust.
struct Tls {
    connector: TlsConnector,
    trusted: usize,
}

impl<'a> Dial<'a> {
    /// Reads the certificates that it will need.
    pub(super) fn new(options: &'a Options) -> Result<Self, TlsError> {
        let Options { url: target, origin, ca, .. } = options;
        let tls = target.encrypted().then(|| Tls::trusting(ca.as_deref())).transpose()?;
        Ok(Self { target, origin: origin.as_ref(), within: options.timeout(), tls })
    }

    /// The addresses of the server.
    pub(super) async fn resolve(&self) -> Finding<Vec<SocketAddr>> {
        let (host, start) = (self.target.host(), Instant::now());
        let found = self.within("the name service", tokio::net::lookup_host((host, self.target.port()))).await?;
        let addresses: Vec<_> =
            found.map_err(|error| Trouble::Name { host: host.to_owned(), error: error.to_string() })?.collect();
        if addresses.is_empty() {
            return Err(Trouble::Name { host: host.to_owned(), error: "it has no address".to_owned() });
        }
        let list = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
        Ok((addresses, format!("{list}, {}", Took(start.elapsed()))))
    }

    /// A connection to the first address that takes one.
    pub(super) async fn connect(&self, addresses: &[SocketAddr]) -> Finding<TcpStream> {
        let mut failed = Vec::new();
        for address in addresses {
            let start = Instant::now();
            let error = match timeout(self.within, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    // Only the figures get a little worse.
                    let _ = socket.set_nodelay(true);
                    let took = Took(start.elapsed());
                    let failed: String = failed.iter().map(|(at, error)| format!("; but {at}: {error}")).collect();
                    return Ok((socket, format!("{address}, {took}{failed}")));
                }
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            failed.push((*address, error));
        }
        Err(Trouble::Unreachable { failed, within: self.within })
    }

    /// The connection as the URL wants it, and how it is encrypted.
    pub(super) async fn secure(&self, socket: TcpStream) -> Finding<Box<dyn Socket>> {
        let Some(Tls { connector, trusted }) = &self.tls else {
            return Ok((Box::new(socket), String::new()));
        };
        let (host, start) = (self.target.host().to_owned(), Instant::now());
        let Ok(name) = ServerName::try_from(host.clone()) else {
            return Err(Trouble::Name { host, error: "no certificate can be for such a name".to_owned() });
        };
        match self.within("the TLS handshake", connector.connect(name, socket)).await? {
            Ok(socket) => {
                let version = match socket.get_ref().1.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                    _ => "TLS 1.2",
                };
                let figures = format!("{version}, {}", Took(start.elapsed()));
                Ok((Box::new(socket), figures))
            }
            Err(error) => Err(Trouble::Tls { host, error, trusted: *trusted }),
        }
    }

    /// A connection for one more peer: as [`Dial::connect`] and [`Dial::secure`].
    pub(super) async fn again(&self, addresses: &[SocketAddr]) -> Finding<Box<dyn Socket>> {
        let (socket, figures) = self.connect(addresses).await?;
        let (socket, _) = self.secure(socket).await?;
        Ok((socket, figures))
    }

    /// The connection as a peer's socket.
    pub(super) async fn upgrade(
        &self,
        socket: Box<dyn Socket>,
        url: &Uri,
    ) -> Finding<Peer<impl Transport + Unpin + use<>>> {
        let mut request = url.into_client_request().expect("the URL was read as one of a WebSocket");
        if let Some(origin) = self.origin {
            request.headers_mut().insert(ORIGIN, origin.clone());
        }
        let start = Instant::now();
        match self.within("the WebSocket handshake", tokio_tungstenite::client_async(request, socket)).await? {
            Ok((stream, _)) => {
                let peer = Peer::new(TestClient::new(sigver::hyper::transport(stream)));
                Ok((peer, format!("HTTP 101, {}", Took(start.elapsed()))))
            }
            Err(tungstenite::Error::Http(response)) => Err(self.refused(&response)),
            Err(error) => Err(Trouble::Handshake { error, encrypted: self.target.encrypted() }),
        }
    }

    fn refused(&self, response: &handshake::client::Response) -> Trouble {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let plain = header(CONTENT_TYPE).is_none_or(|kind| kind.starts_with("text/plain"));
        let said = response.body().as_deref().filter(|_| plain).map(String::from_utf8_lossy).unwrap_or_default();
        Trouble::Http {
            status: response.status(),
            location: header(LOCATION).map(str::to_owned),
            said: said.lines().next().unwrap_or_default().chars().take(120).collect(),
            origin: self.origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned()),
        }
    }

    async fn within<T>(&self, what: &'static str, step: impl Future<Output = T>) -> Result<T, Trouble> {
        timeout(self.within, step).await.map_err(|_| Trouble::Unanswered { what, within: self.within })
    }
}

impl Tls {
    /// What this machine trusts, and the certificates in `ca`.
    fn trusting(ca: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        // A certificate that cannot be read is one that nobody's server was found with. If it was, the check says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(ca) = ca {
            for certificate in certificates("--ca", ca)? {
                roots.add(certificate).map_err(|error| TlsError::Unreadable {
                    option: "--ca",
                    path: ca.to_owned(),
                    error: error.to_string(),
                })?;
            }
        }
        let trusted = roots.len();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("the provider has the versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), trusted })
    }
}
