//! Test servers: one hub per server, reached through one adapter, with the same interface for every adapter.

mod memory;
mod mounted;
mod standalone;
#[expect(dead_code, reason = "a request of the contract can have headers")]
#[path = "../common/websocket.rs"]
mod websocket;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use sigver::client::Connector;
use sigver::memory::TestClient;
use sigver::{Frame, HubBuilder, SignalingHub, Transport, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use memory::{MemoryServer, cluster};
use standalone::{Certificate, StandaloneCluster, StandaloneServer};

/// How a test reaches a hub.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Adapter {
    Memory,
    /// As [`Adapter::Memory`], with a hub that is the only node of a cluster.
    MemoryNode,
    /// As [`Adapter::Memory`], with a cluster of three hubs. Successive peers join successive hubs.
    MemoryCluster,
    Hyper,
    /// The service of hyper behind layers of tower, in a router of axum.
    Tower,
    Axum,
    Warp,
    Standalone,
    StandaloneTls,
    /// Three servers on one Redis. Successive peers join successive servers.
    StandaloneCluster,
    /// A handler of the app calls `upgrade_with`.
    HyperHandler,
    /// As [`Adapter::HyperHandler`], with axum.
    AxumHandler,
    /// A filter of the app calls `Handshake::with_key`.
    WarpHandler,
    /// The app upgrades the connection, then calls `SignalingHub::serve`.
    HyperUpgradedByApp,
    /// The app calls `SignalingHub::admit`, then upgrades the connection in any case and serves or rejects it.
    AxumUpgradedByApp,
    /// As [`Adapter::HyperUpgradedByApp`], with warp.
    WarpUpgradedByApp,
}

impl Adapter {
    /// Starts a server with the default settings.
    pub(crate) async fn start(self) -> Box<dyn TestServer> {
        match self {
            Self::Standalone => Box::new(StandaloneServer::start(None, &[]).await),
            Self::StandaloneTls => Box::new(StandaloneServer::start(Some(Certificate::new()), &[]).await),
            Self::StandaloneCluster => Box::new(StandaloneCluster::start().await),
            _ => self.start_with(SignalingHub::builder()).await,
        }
    }

    /// Starts a server with these settings.
    pub(crate) async fn start_with(self, builder: HubBuilder) -> Box<dyn TestServer> {
        match self {
            Self::MemoryCluster => Box::new(MemoryServer::new(cluster(builder, 3))),
            _ => self.mount(self.build(builder)).await,
        }
    }

    /// Builds the hub of a server. The settings must be valid.
    pub(crate) fn build(self, builder: HubBuilder) -> SignalingHub {
        match self {
            Self::MemoryNode => cluster(builder, 1).remove(0),
            Self::MemoryCluster => unreachable!("a cluster has more than one hub"),
            _ => builder.build().expect("the settings are valid"),
        }
    }

    /// Starts a server that mounts `hub`, which this adapter has built.
    pub(crate) async fn mount(self, hub: SignalingHub) -> Box<dyn TestServer> {
        match self {
            Self::Memory | Self::MemoryNode => Box::new(MemoryServer::new(vec![hub])),
            _ => mounted::start(self, hub).await,
        }
    }

    /// Returns whether the clock is paused, as it is without a network.
    pub(crate) fn has_paused_clock(self) -> bool {
        matches!(self, Self::Memory | Self::MemoryNode | Self::MemoryCluster)
    }

    /// Returns how this adapter reports a rejection with an HTTP status: by `status` where the hub's adapter completes
    /// the handshake, otherwise by the close code.
    pub(crate) fn rejection(self, status: u16, code: u16) -> Rejected {
        match self {
            Self::Hyper | Self::Tower | Self::Axum | Self::Warp => Rejected::Http(status),
            Self::HyperHandler | Self::AxumHandler | Self::WarpHandler => Rejected::Http(status),
            Self::Standalone | Self::StandaloneTls | Self::StandaloneCluster => Rejected::Http(status),
            Self::HyperUpgradedByApp | Self::AxumUpgradedByApp | Self::WarpUpgradedByApp => Rejected::Closed(code),
            Self::Memory | Self::MemoryNode | Self::MemoryCluster => Rejected::Closed(code),
        }
    }
}

/// A server that peers connect to.
#[async_trait]
pub(crate) trait TestServer: Send + Sync {
    /// Opens a connection, or returns the HTTP status of a failed handshake.
    async fn try_open(&self, request: OpenRequest) -> Result<Peer, u16>;

    /// Opens a connection. `tail` is the URL below the mount, without its leading slash: `KEY?favored`.
    async fn open(&self, tail: &str) -> Peer {
        self.try_open(OpenRequest::new(tail)).await.expect("the handshake succeeds")
    }

    /// Opens a connection that the hub must reject, and returns how the peer learns of it.
    async fn open_rejected(&self, request: OpenRequest) -> Rejected {
        match self.try_open(request).await {
            Ok(mut peer) => Rejected::Closed(peer.recv_close().await.code),
            Err(status) => Rejected::Http(status),
        }
    }

    /// Opens a byte stream to the server, without a WebSocket handshake.
    async fn open_stream(&self) -> Box<dyn ByteStream>;

    /// Returns the path of the mount: empty, or with a leading slash.
    fn mount_path(&self) -> &'static str;
}

/// A client over any transport.
pub(crate) type Peer = TestClient<Pin<Box<AnyTransport>>>;
type AnyTransport = dyn Transport<Err = TransportError, Error = TransportError, Item = Result<Frame, TransportError>>;

/// A byte stream to a server.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// How a peer learned of its rejection.
#[derive(Debug, PartialEq)]
pub(crate) enum Rejected {
    Http(u16),
    Closed(u16),
}

/// The URL and the headers of a WebSocket handshake.
#[derive(Clone, Debug)]
pub(crate) struct OpenRequest {
    tail: String,
    headers: Vec<(&'static str, String)>,
}

impl OpenRequest {
    /// `tail` is the URL below the mount, without its leading slash: `KEY?favored`.
    pub(crate) fn new(tail: impl Into<String>) -> Self {
        Self { tail: tail.into(), headers: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the client IP that a proxy on this machine reports.
    pub(crate) fn forwarded_for(self, ip: impl Into<String>) -> Self {
        self.header("x-forwarded-for", ip)
    }

    fn to_connector(&self, base: &str) -> Connector {
        let headers = self.headers.iter();
        headers.fold(websocket::connector(&format!("{base}{}", self.tail)), |connector, (name, value)| match *name {
            "sec-websocket-protocol" => value.split(", ").fold(connector, |connector, protocol| {
                connector.subprotocol(protocol).expect("the subprotocol is valid")
            }),
            name => connector.header(name, value).expect("the header is valid"),
        })
    }
}

/// A member, a joiner that is bound to it, and their link.
pub(crate) struct BoundPair {
    pub(crate) member: Peer,
    pub(crate) joiner: Peer,
    pub(crate) link: u32,
}

impl BoundPair {
    /// Opens a pair in the group `K`. The member has the id 1, the joiner the id 2.
    pub(crate) async fn open(server: &dyn TestServer) -> Self {
        Self::open_in(server, "K").await
    }

    /// Opens a pair in another group.
    pub(crate) async fn open_in(server: &dyn TestServer, key: &str) -> Self {
        let [mut member, mut joiner] = [server.open(key).await, server.open(key).await];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_content(0, "hello").await;
        let (link, hello) = member.recv_content().await;
        assert_eq!(hello, "hello");
        Self { member, joiner, link }
    }

    /// Asserts that the link relays in both directions and that neither peer received anything else before.
    pub(crate) async fn assert_undisturbed(&mut self) {
        self.joiner.send_content(0, "ping").await;
        assert_eq!(self.member.recv_content().await, (self.link, "ping".into()));
        self.member.send_content(self.link, "pong").await;
        assert_eq!(self.joiner.recv_content().await, (self.link, "pong".into()));
    }
}

/// Pauses the clock for adapters without a network, and fails a test that hangs.
pub(crate) async fn in_time(adapter: Adapter, test: impl Future<Output = ()>) {
    let mut limit = Duration::from_secs(60);
    if adapter.has_paused_clock() {
        tokio::time::pause();
        limit *= 60;
    }
    tokio::time::timeout(limit, test).await.expect("the test hangs");
}

async fn tcp_stream(address: SocketAddr) -> Box<dyn ByteStream> {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    stream.set_nodelay(true).expect("the socket accepts TCP_NODELAY");
    Box::new(stream)
}

/// Completes a WebSocket handshake, or returns the HTTP status.
async fn open_websocket(server: &dyn TestServer, request: &OpenRequest) -> Result<Peer, u16> {
    let mount = server.mount_path();
    let slash = if request.tail.starts_with('?') && !mount.is_empty() { "" } else { "/" };
    let connector = request.to_connector(&format!("ws://localhost{mount}{slash}"));
    let transport = websocket::try_open_with(connector, server.open_stream().await).await?;
    Ok(TestClient::new(Box::pin(transport)))
}
