//! Connects to a server step by step: DNS, TCP, TLS and the WebSocket handshake.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};
use sigver::client::{Connector, JoinError, JoinStep, Socket, WebSocket};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::diagnosis::{Diagnosis, Step};
use super::elapsed::Elapsed;
use super::header::Header;
use super::options::Options;
use super::peer::Peer;
use super::report::Finding;
use super::target::Target;
use crate::tls::{TlsError, read};

/// The number of characters of a response's body that are printed.
const MAX_BODY_CHARS: usize = 120;

/// Opens connections to one server.
pub(super) struct Dialer<'a> {
    target: &'a Target,
    origin: Option<&'a HeaderValue>,
    headers: &'a [Header],
    timeout: Duration,
    /// Encrypts the connections.
    connector: Connector,
}

impl<'a> Dialer<'a> {
    /// Reads the CA certificates of the options.
    pub(super) fn new(options: &'a Options, target: &'a Target) -> Result<Self, TlsError> {
        let Options { origin, headers, ca, .. } = options;
        let mut connector = connector(&target.with_key("")).timeout(options.timeout());
        if let Some(path) = ca
            && target.is_encrypted()
        {
            let unreadable = |error: JoinError| TlsError::Unreadable {
                option: "--ca",
                path: path.clone(),
                error: error.to_string(),
            };
            connector = connector.ca(read("--ca", path)?).map_err(unreadable)?;
        }
        Ok(Self { target, origin: origin.as_ref(), headers, timeout: options.timeout(), connector })
    }

    /// Returns the addresses of the server.
    pub(super) async fn resolve(&self) -> Finding<Vec<SocketAddr>> {
        let (host, start) = (self.target.host(), Instant::now());
        let failed = |error| Diagnosis::Dns { host: host.to_owned(), error };
        let lookup = timeout(self.timeout, tokio::net::lookup_host((host, self.target.port())));
        let found = lookup.await.map_err(|_| Diagnosis::Timeout { step: Step::Dns, timeout: self.timeout })?;
        let addresses: Vec<_> = found.map_err(|error| failed(error.to_string()))?.collect();
        if addresses.is_empty() {
            return Err(failed("no records".to_owned()));
        }
        let list = addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
        Ok((addresses, format!("{list}, {}", Elapsed(start.elapsed()))))
    }

    /// Connects to the first address that accepts the connection. Unlike a [`Connector`], it tries one after the other,
    /// so that the report has the result of each.
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
    pub(super) async fn encrypt(&self, stream: TcpStream) -> Finding<Socket> {
        let start = Instant::now();
        let socket = self.connector.encrypt(stream).await.map_err(|error| self.diagnose(error))?;
        let figures = socket.tls_version().map(|version| format!("{version}, {}", Elapsed(start.elapsed())));
        Ok((socket, figures.unwrap_or_default()))
    }

    /// Opens a connection for a further peer, with [`Dialer::connect`] and [`Dialer::encrypt`].
    pub(super) async fn open(&self, addresses: &[SocketAddr]) -> Finding<Socket> {
        let (stream, figures) = self.connect(addresses).await?;
        let (socket, _) = self.encrypt(stream).await?;
        Ok((socket, figures))
    }

    /// Performs the WebSocket handshake.
    pub(super) async fn upgrade(&self, socket: Socket, url: &Uri) -> Finding<Peer<WebSocket>> {
        let mut connector = connector(url).timeout(self.timeout);
        let origin = self.origin.map(|origin| ("Origin", origin));
        for (name, value) in
            origin.into_iter().chain(self.headers.iter().map(|Header { name, value }| (name.as_str(), value)))
        {
            let value = str::from_utf8(value.as_bytes()).expect("the command line is UTF-8");
            connector = connector.header(name, value).expect("the command line was checked");
        }
        let start = Instant::now();
        let client = connector.handshake_url(socket).await.map_err(|error| self.diagnose(error))?;
        Ok((Peer::new(client), format!("HTTP 101, {}", Elapsed(start.elapsed()))))
    }

    fn diagnose(&self, error: JoinError) -> Diagnosis {
        let encrypted = self.target.is_encrypted();
        match error {
            JoinError::Tls { host, error, .. } => Diagnosis::Tls { host, error },
            JoinError::NoTrustedCa(error) => Diagnosis::NoTrustedCa { error },
            JoinError::Timeout { step: JoinStep::Tls, .. } => {
                Diagnosis::Timeout { step: Step::Tls, timeout: self.timeout }
            }
            JoinError::Timeout { .. } => Diagnosis::Timeout { step: Step::Upgrade, timeout: self.timeout },
            JoinError::Rejected { status, body, location, .. } => Diagnosis::Http {
                status: StatusCode::from_u16(status).expect("a rejection has a valid status"),
                location,
                body: body.lines().next().unwrap_or_default().chars().take(MAX_BODY_CHARS).collect(),
                origin: self.origin.map(|origin| String::from_utf8_lossy(origin.as_bytes()).into_owned()),
            },
            JoinError::InvalidResponse(error) => Diagnosis::InvalidResponse { error, encrypted },
            JoinError::ConnectionLost(error) => Diagnosis::NoResponse { error, encrypted },
            error => unreachable!("a handshake over a connection does not fail with {error}"),
        }
    }
}

/// Returns a connector for a URL of the target.
fn connector(url: &Uri) -> Connector {
    Connector::new(&url.to_string()).expect("the target is a valid WebSocket URL")
}
