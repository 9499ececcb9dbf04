//! How a client joins a hub.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use super::deadline::Deadline;
use super::handshake::{Request, handshake};
use super::join_error::{JoinError, JoinStep};
use super::race::race;
use super::socket::Socket;
use super::tls::Tls;
use super::url::HubUrl;
use super::websocket::WebSocket;
use crate::client::Client;

const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest limit that a hub can have. See `HubBuilder::max_message_bytes`.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Joins groups of one hub over ws:// or wss://. Cheap to clone; clones share the CA certificates of this machine,
/// which are read once, when they are first needed.
///
/// ```no_run
/// use std::time::Duration;
///
/// use sigver::client::{Connector, Retry};
/// use tokio::time::sleep;
///
/// # async fn run(token: &str, key: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let connector = Connector::new("wss://example.org/signal")?
///     .header("Authorization", &format!("Bearer {token}"))?
///     .timeout(Duration::from_secs(5));
/// let mut delay = Duration::from_millis(500);
/// let client = loop {
///     match connector.join(key).await {
///         Ok(client) => break client,
///         Err(error) if error.retry() == Retry::Never => return Err(error.into()),
///         Err(_) => {
///             // Random, so that the clients of a restarted server do not all return at once.
///             sleep(delay.mul_f64(0.5 + fastrand::f64())).await;
///             delay = (2 * delay).min(Duration::from_secs(30));
///         }
///     }
/// };
/// # Ok(()) }
/// ```
///
/// # The hub's checks
/// A hub with `allowed_origins` rejects clients without the header `Origin`, unless it also has `allow_missing_origin`.
/// Send one with [`header`](Self::header), or configure the hub.
///
/// A hub, or an app's admission hook, rejects a join either with an HTTP status, [`JoinError::Rejected`], or with a
/// close code. In the second case the join succeeds, and the first `connect` or `recv` of the client fails with
/// [`ClientError::Closed`](crate::client::ClientError::Closed).
#[derive(Clone)]
#[must_use]
pub struct Connector {
    url: HubUrl,
    is_favored: bool,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    tls: Tls,
    timeout: Duration,
    max_message_bytes: usize,
}

impl Connector {
    /// Creates a connector for the hub at `base`, the URL at which the server mounts it: `wss://example.org/signal`.
    /// The scheme is `ws`, `wss`, `http` or `https`; the last two have the same meaning as the first two. A query is
    /// sent with each handshake; a fragment is ignored.
    ///
    /// # Errors
    /// [`JoinError::Url`].
    pub fn new(base: &str) -> Result<Self, JoinError> {
        Ok(Self {
            url: HubUrl::parse(base)?,
            is_favored: false,
            headers: Vec::new(),
            subprotocols: Vec::new(),
            tls: Tls::new(),
            timeout: TIMEOUT,
            max_message_bytes: MAX_MESSAGE_BYTES,
        })
    }

    /// Adds `favored` to the query: the hub prefers this peer when it selects the member that a joiner is bound to. For
    /// peers that stay and have a fast connection. Default: false.
    pub fn favored(mut self, is_favored: bool) -> Self {
        self.is_favored = is_favored;
        self
    }

    /// Sends this header with each handshake, for example a credential, or the `Origin` that the hub expects. A header
    /// can be added several times. `Host` replaces that of the URL.
    ///
    /// # Errors
    /// [`JoinError::Header`] if the name is not a token, if the value contains control characters other than tabs, or
    /// if the header is part of every handshake: `Connection`, `Upgrade`, `Content-Length`, `Transfer-Encoding` and
    /// `Sec-WebSocket-*`.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, JoinError> {
        let invalid = |rule| JoinError::Header { name: name.to_owned(), rule };
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(invalid("the name must be 1 or more ASCII letters, digits, or characters such as - and _"));
        }
        if HeaderValue::from_str(value).is_err() {
            return Err(invalid("the value must contain no control characters, except tabs"));
        }
        match &*lower {
            "connection" | "upgrade" | "content-length" | "transfer-encoding" => {
                return Err(invalid("must not be a header that every handshake has"));
            }
            "sec-websocket-protocol" => return Err(invalid("must be set with Connector::subprotocol")),
            _ if lower.starts_with("sec-websocket-") => {
                return Err(invalid("must not be a header that every handshake has"));
            }
            "host" => self.url.authority = value.to_owned(),
            _ => self.headers.push((name.to_owned(), value.to_owned())),
        }
        Ok(self)
    }

    /// Offers this subprotocol, after those offered before. For an admission hook that reads a token from
    /// `JoinRequest::subprotocols`, because browsers can send no other header. The hub selects the first one, which has
    /// no further meaning. Default: none.
    ///
    /// # Errors
    /// [`JoinError::Header`] if the name is not a token: ASCII letters, digits and ``!#$%&'*+-.^_`|~``.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, JoinError> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            let rule = "a subprotocol must be 1 or more ASCII letters, digits or !#$%&'*+-.^_`|~";
            return Err(JoinError::Header { name: "Sec-WebSocket-Protocol".to_owned(), rule });
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Trusts the CA certificates in this PEM text too, in addition to those of this machine.
    ///
    /// # Errors
    /// [`JoinError::Ca`].
    pub fn ca(mut self, pem: impl AsRef<[u8]>) -> Result<Self, JoinError> {
        self.tls.add(pem.as_ref())?;
        Ok(self)
    }

    /// Sets the time that a join may take in total. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the size of the largest message that the client receives. A larger one ends the connection with
    /// [`ClientError::ConnectionLost`](crate::client::ClientError::ConnectionLost), so this must be at least the
    /// `max_message_bytes` of the hub, which is 64 KiB by default. Default: 64 MiB, the most that any hub relays.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Joins the group of this key: opens the WebSocket `BASE/KEY`. The key is percent-encoded; it becomes one
    /// segment of the path, in front of the query.
    ///
    /// Tries all addresses of the host, as browsers do: the next one as soon as an attempt fails, or after 250 ms.
    ///
    /// # Cancel safety
    /// If the future is dropped, its connections are closed and no task is left. A lookup of the system's resolver,
    /// or a read of this machine's certificates, continues to its end on a thread of the runtime, and its result is
    /// discarded.
    ///
    /// # Errors
    /// [`JoinError`]; [`JoinError::retry`] tells whether to try again.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and a timer.
    pub async fn join(&self, key: &str) -> Result<Client<WebSocket>, JoinError> {
        let target = self.url.target_of(key, self.is_favored)?;
        self.open(&target).await
    }

    /// Joins with the URL as it is, without a key: for a server that takes the key from the query, or whose app selects
    /// the group. The app percent-encodes what it writes into the URL.
    ///
    /// Cancel safety, errors and panics: as [`join`](Self::join).
    pub async fn join_url(&self) -> Result<Client<WebSocket>, JoinError> {
        self.open(&self.url.target(self.is_favored)).await
    }

    /// Joins the group of this key over a byte stream that the app connected itself, for example through a proxy, or an
    /// in-memory stream in tests. The handshake is the same as that of [`join`](Self::join). The stream is used as it
    /// is, also if the URL is `wss://`: see [`encrypt`](Self::encrypt).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use sigver::client::{Connector, JoinError};
    /// use tokio::io::AsyncWriteExt as _;
    ///
    /// let (client_end, mut server_end) = tokio::io::duplex(4096);
    /// let response = "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno access";
    /// server_end.write_all(response.as_bytes()).await.expect("the stream has room");
    ///
    /// let connector = Connector::new("ws://example.org/signal").expect("the URL is valid");
    /// let error = connector.handshake(client_end, "the group's key").await.expect_err("a rejection");
    /// assert!(matches!(error, JoinError::Rejected { status: 403, body, .. } if body == "no access"));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, so is the stream.
    ///
    /// # Errors and panics
    /// As [`join`](Self::join), without DNS, TCP and TLS.
    pub async fn handshake<S>(&self, stream: S, key: &str) -> Result<Client<WebSocket<S>>, JoinError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let target = self.url.target_of(key, self.is_favored)?;
        self.upgrade(stream, &target, Deadline::after(self.timeout)).await
    }

    /// Joins over a byte stream as [`handshake`](Self::handshake) does, with the URL as it is:
    /// see [`join_url`](Self::join_url).
    pub async fn handshake_url<S>(&self, stream: S) -> Result<Client<WebSocket<S>>, JoinError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.upgrade(stream, &self.url.target(self.is_favored), Deadline::after(self.timeout)).await
    }

    /// Performs the TLS handshake over a byte stream that the app connected itself, if the URL is `wss://` or
    /// `https://`. Pass the result to [`handshake`](Self::handshake).
    ///
    /// # Cancel safety
    /// If the future is dropped, so is the stream.
    ///
    /// # Errors
    /// [`JoinError::Tls`], [`JoinError::NoTrustedCa`] and [`JoinError::Timeout`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with a timer.
    pub async fn encrypt<S>(&self, stream: S) -> Result<Socket, JoinError>
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        self.encrypt_by(stream, Deadline::after(self.timeout)).await
    }

    async fn open(&self, target: &str) -> Result<Client<WebSocket>, JoinError> {
        let deadline = Deadline::after(self.timeout);
        let stream = self.connect(deadline).await?;
        let socket = self.encrypt_by(stream, deadline).await?;
        self.upgrade(socket, target, deadline).await
    }

    async fn connect(&self, deadline: Deadline) -> Result<TcpStream, JoinError> {
        let HubUrl { host, port, .. } = &self.url;
        let failed = |error| JoinError::Dns { host: host.clone(), error };
        let resolve = async { lookup_host((&**host, *port)).await.map_err(failed) };
        let addresses: Vec<_> = deadline.limit(JoinStep::Dns, resolve).await?.collect();
        if addresses.is_empty() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let race = async { race(&addresses, TcpStream::connect).await.map_err(JoinError::Tcp) };
        let stream = deadline.limit(JoinStep::Tcp, race).await?;
        // A failure delays messages, and does not affect anything else.
        let _: io::Result<()> = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn encrypt_by<S>(&self, stream: S, deadline: Deadline) -> Result<Socket, JoinError>
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        if self.url.is_encrypted {
            deadline.limit(JoinStep::Tls, self.tls.connect(&self.url.host, stream)).await
        } else {
            Ok(Socket::new(stream, None))
        }
    }

    async fn upgrade<S>(
        &self,
        mut stream: S,
        target: &str,
        deadline: Deadline,
    ) -> Result<Client<WebSocket<S>>, JoinError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Self { url, headers, subprotocols, .. } = self;
        let request = Request { target, host: &url.authority, headers, subprotocols };
        let read = handshake(&mut stream, &request, deadline).await?;
        Ok(Client::new(WebSocket::new(stream, read, self.max_message_bytes).await))
    }
}

/// Omits the path, the query and the values of the headers, which can be credentials.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Connector")
            .field("host", &self.url.host)
            .field("port", &self.url.port)
            .field("encrypted", &self.url.is_encrypted)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
