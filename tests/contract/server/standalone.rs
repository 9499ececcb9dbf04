//! The standalone server as a process, with or without TLS, and three of them on one Redis.

#[expect(dead_code, reason = "the contract sends Redis no command")]
#[path = "../../common/redis.rs"]
mod redis;

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{ByteStream, OpenRequest, Peer, TestServer, open_websocket, tcp_stream};
use redis::Redis;

pub(super) struct StandaloneServer {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    /// Killed on drop.
    _process: Child,
    /// The server's certificate files must exist while it runs.
    _certificate: Option<Certificate>,
}

impl StandaloneServer {
    pub(super) async fn start(certificate: Option<Certificate>, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sigver"));
        command.args(["--host", "127.0.0.1", "--port", "0"]).args(args).stdout(Stdio::piped()).kill_on_drop(true);
        if let Some(certificate) = &certificate {
            let [key, cert] = ["key.pem", "cert.pem"].map(|file| certificate.folder.path().join(file));
            command.arg("--key").arg(key).arg("--cert").arg(cert);
        }
        let mut process = command.spawn().expect("the server starts");
        let output = process.stdout.take().expect("stdout is piped");
        let line = BufReader::new(output).lines().next_line().await.expect("stdout is readable");
        let line = line.expect("the server prints its address");
        let address = line.strip_prefix("Signaling server is listening on ").expect("the line contains the address");
        Self {
            address: address.parse().expect("the address is HOST:PORT"),
            tls: certificate.as_ref().map(|certificate| certificate.connector.clone()),
            _process: process,
            _certificate: certificate,
        }
    }
}

#[async_trait]
impl TestServer for StandaloneServer {
    async fn try_open(&self, request: OpenRequest) -> Result<Peer, u16> {
        open_websocket(self, &request).await
    }

    async fn open_stream(&self) -> Box<dyn ByteStream> {
        let stream = tcp_stream(self.address).await;
        match &self.tls {
            None => stream,
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("the name is valid");
                Box::new(tls.connect(name, stream).await.expect("the TLS handshake succeeds"))
            }
        }
    }

    fn mount_path(&self) -> &'static str {
        ""
    }
}

/// Three servers on one Redis. Successive connections reach successive servers, as behind a balancer.
pub(super) struct StandaloneCluster {
    servers: Vec<StandaloneServer>,
    connections: AtomicUsize,
    /// Killed on drop.
    _redis: Redis,
}

impl StandaloneCluster {
    pub(super) async fn start() -> Self {
        let redis = Redis::start(&[]).await;
        let url = redis.url();
        let args = ["--cluster-url", &url];
        let start = || StandaloneServer::start(None, &args);
        let servers = Vec::from(<[_; 3]>::from(tokio::join!(start(), start(), start())));
        Self { servers, connections: AtomicUsize::new(0), _redis: redis }
    }
}

#[async_trait]
impl TestServer for StandaloneCluster {
    async fn try_open(&self, request: OpenRequest) -> Result<Peer, u16> {
        open_websocket(self, &request).await
    }

    async fn open_stream(&self) -> Box<dyn ByteStream> {
        let nth = self.connections.fetch_add(1, Ordering::Relaxed);
        self.servers[nth % self.servers.len()].open_stream().await
    }

    fn mount_path(&self) -> &'static str {
        ""
    }
}

/// A self-signed certificate and its key in a temporary folder, and a client that trusts the certificate.
pub(super) struct Certificate {
    folder: tempfile::TempDir,
    connector: TlsConnector,
}

impl Certificate {
    pub(super) fn new() -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("the name is valid");
        let folder = tempfile::tempdir().expect("the folder is writable");
        for (file, pem) in [("key.pem", signed.signing_key.serialize_pem()), ("cert.pem", signed.cert.pem())] {
            std::fs::write(folder.path().join(file), pem).expect("the folder is writable");
        }
        let mut roots = RootCertStore::empty();
        roots.add(signed.cert.der().clone()).expect("the certificate is a valid root");
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { folder, connector: TlsConnector::from(Arc::new(config)) }
    }
}
