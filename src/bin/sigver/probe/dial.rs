//! Connects to a server step by step: DNS, TCP, TLS and the WebSocket handshake.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, LOCATION, ORIGIN};
use sigver::Transport;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, ProtocolVersion, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, handshake};

use super::diagnosis::{Diagnosis, Step};
use super::elapsed::Elapsed;
use super::header::Header;
use super::options::Options;
use super::peer::Peer;
use super::report::Finding;
use super::target::Target;
use crate::tls::{TlsError, certificates};

/// A connection, encrypted or not.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Opens connections to one server.
pub(super) struct Dialer<'a> {
    target: &'a Target,
    origin: Option<&'a HeaderValue>,
    headers: &'a [Header],
    timeout: Duration,
    tls: Option<Tls>,
}

struct Tls {
    connector: TlsConnector,
    /// The number of trusted CA certificates.
    roots: usize,
}

impl<'a> Dialer<'a> {
    /// Reads the trusted certificates if the URL is encrypted.
    pub(super) fn new(options: &'a Options, target: &'a Target) -> Result<Self, TlsError> {
        let Options { origin, headers, ca, .. } = options;
        let tls = target.is_encrypted().then(|| Tls::new(ca.as_deref())).transpose()?;
        Ok(Self { target, origin: origin.as_ref(), headers, timeout: options.timeout(), tls })
    }

    /// Returns the addresses of the server.
    pub(super) async fn resolve(&self) -> Finding<Vec<SocketAddr>> {
        let (host, start) = (self.target.host(), Instant::now());
        let failed = |error| Diagnosis::Dns { host: host.to_owned(), error };
        let lookup = tokio::net::lookup_host((host, self.target.port()));
        let found = self.with_timeout(Step::Dns, lookup).await?;
        let addresses: Vec<_> = found.map_err(|error| failed(error.to_string()))?.collect();
        if addresses.is_empty() {
            return Err(failed("no records".to_owned()));
        }
        let list = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
        Ok((addresses, format!("{list}, {}", Elapsed(start.elapsed()))))
    }

    /// Connects to the first address that accepts the connection.
    pub(super) async fn connect(&self, addresses: &[SocketAddr]) -> Finding<TcpStream> {
        let mut failed = Vec::new();
        for address in addresses {
            let start = Instant::now();
            let error = match timeout(self.timeout, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    // A failure affects only the measured times.
                    let _ = socket.set_nodelay(true);
                    let elapsed = Elapsed(start.elapsed());
                    let failed: String =
                        failed.iter().map(|(address, error)| format!("; {address} failed: {error}")).collect();
                    return Ok((socket, format!("{address}, {elapsed}{failed}")));
                }
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            failed.push((*address, error));
        }
        Err(Diagnosis::Unreachable { failed, timeout: self.timeout })
    }

    /// Encrypts the connection if the URL is encrypted.
    pub(super) async fn encrypt(&self, socket: TcpStream) -> Finding<Box<dyn Socket>> {
        let Some(Tls { connector, roots }) = &self.tls else {
            return Ok((Box::new(socket), String::new()));
        };
        let (host, start) = (self.target.host().to_owned(), Instant::now());
        let Ok(name) = ServerName::try_from(host.clone()) else {
            return Err(Diagnosis::Dns { host, error: "a certificate cannot contain this name".to_owned() });
        };
        match self.with_timeout(Step::Tls, connector.connect(name, socket)).await? {
            Ok(socket) => {
                let version = match socket.get_ref().1.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                    _ => "TLS 1.2",
                };
                let figures = format!("{version}, {}", Elapsed(start.elapsed()));
                Ok((Box::new(socket), figures))
            }
            Err(error) => Err(Diagnosis::Tls { host, error, roots: *roots }),
        }
    }

    /// Opens a connection for a further peer, with [`Dialer::connect`] and [`Dialer::encrypt`].
    pub(super) async fn open(&self, addresses: &[SocketAddr]) -> Finding<Box<dyn Socket>> {
        let (socket, figures) = self.connect(addresses).await?;
        let (socket, _) = self.encrypt(socket).await?;
        Ok((socket, figures))
    }

    /// Performs the WebSocket handshake.
    pub(super) async fn upgrade(
        &self,
        socket: Box<dyn Socket>,
        url: &Uri,
    ) -> Finding<Peer<impl Transport + Unpin + use<>>> {
        let mut request = url.into_client_request().expect("the target contains a WebSocket URL");
        if let Some(origin) = self.origin {
            request.headers_mut().insert(ORIGIN, origin.clone());
        }
        for Header { name, value } in self.headers {
            // A request has one host. Other headers may be repeated, as `X-Forwarded-For`.
            if *name == HOST {
                request.headers_mut().insert(name, value.clone());
            } else {
                request.headers_mut().append(name, value.clone());
            }
        }
        let start = Instant::now();
        match self.with_timeout(Step::Upgrade, tokio_tungstenite::client_async(request, socket)).await? {
            Ok((stream, _)) => {
                let peer = Peer::new(sigver::hyper::transport(stream));
                Ok((peer, format!("HTTP 101, {}", Elapsed(start.elapsed()))))
            }
            Err(tungstenite::Error::Http(response)) => Err(self.rejected(&response)),
            Err(error) => Err(Diagnosis::Handshake { error, encrypted: self.target.is_encrypted() }),
        }
    }

    fn rejected(&self, response: &handshake::client::Response) -> Diagnosis {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_text = header(CONTENT_TYPE).is_none_or(|content_type| content_type.starts_with("text/plain"));
        let body = response.body().as_deref().filter(|_| is_text).map(String::from_utf8_lossy).unwrap_or_default();
        Diagnosis::Http {
            status: response.status(),
            location: header(LOCATION).map(str::to_owned),
            body: body.lines().next().unwrap_or_default().chars().take(120).collect(),
            origin: self.origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned()),
        }
    }

    async fn with_timeout<T>(&self, step: Step, future: impl Future<Output = T>) -> Result<T, Diagnosis> {
        timeout(self.timeout, future).await.map_err(|_| Diagnosis::Timeout { step, timeout: self.timeout })
    }
}

impl Tls {
    /// Trusts the CA certificates of this machine, and those in `ca`.
    fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        // An unreadable certificate matters only to a server that uses it, and the check `tls` then reports that.
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
        let count = roots.len();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .expect("the provider supports these versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), roots: count })
    }
}
