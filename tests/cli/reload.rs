//! Certificate reload.

use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use sigver::memory::TestClient;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::common::open;
use crate::common::websocket::try_open;
use crate::process::{start, write};
use crate::{Certificate, kill, self_signed, trusting};

/// A TLS server whose certificate files change.
struct Server {
    first: Certificate,
    second: CertifiedKey<KeyPair>,
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: String,
}

impl Server {
    /// Starts the server with the first of two certificates.
    async fn start() -> Self {
        let first = Certificate::new();
        let (mut process, address) = start(&first.args()).await;
        let log = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        Self { first, second: self_signed(), process, log, address }
    }

    /// Replaces the first certificate with the second.
    fn install_second(&self) {
        self.replace("key.pem", &self.second.signing_key.serialize_pem());
        self.replace("cert.pem", &self.second.cert.pem());
    }

    /// Replaces a file atomically, because the server may read it at any moment.
    fn replace(&self, name: &str, text: &str) {
        let folder = self.first.folder.path();
        let new = write(folder, "new", text);
        std::fs::rename(new, folder.join(name)).expect("the file exists");
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(&self.address).await.expect("the server listens");
        let tls = trusting([self.first.pair.cert.der(), self.second.cert.der()]);
        let name = ServerName::try_from("localhost").expect("a valid name");
        tls.connect(name, socket).await.expect("a TLS handshake")
    }

    /// Returns whether a new handshake receives the second certificate.
    async fn uses_second(&self) -> bool {
        let socket = self.connect().await;
        let chain = socket.get_ref().1.peer_certificates().expect("the handshake is complete");
        let [certificate] = chain else { panic!("expected one certificate, got {}", chain.len()) };
        assert!([self.first.pair.cert.der(), self.second.cert.der()].contains(&certificate));
        certificate == self.second.cert.der()
    }

    /// Returns the next log line that contains this text.
    async fn wait_for_log(&mut self, text: &str) -> String {
        let found = async {
            loop {
                let line = self.log.next_line().await.expect("the log is readable").expect("the server runs");
                if line.contains(text) {
                    return line;
                }
            }
        };
        timeout(Duration::from_secs(60), found).await.expect(text)
    }
}

#[tokio::test]
async fn sighup_reloads_the_certificate_and_keeps_open_connections() {
    let mut server = Server::start().await;
    let transport = try_open("wss://localhost/K", server.connect().await).await.expect("101");
    let mut peer = TestClient::new(transport);

    kill("-HUP", &server.process).await;
    server.wait_for_log("certificate reloaded").await;
    assert!(!server.uses_second().await, "the files have not changed");

    server.install_second();
    kill("-HUP", &server.process).await;
    server.wait_for_log("certificate reloaded").await;
    assert!(server.uses_second().await);
    assert!(peer.connect(1, &[]).await);
}

#[tokio::test]
async fn changed_certificate_files_are_reloaded_without_a_signal() {
    let mut server = Server::start().await;
    assert!(!server.uses_second().await);
    server.install_second();
    server.wait_for_log("certificate reloaded").await;
    assert!(server.uses_second().await);
}

#[tokio::test]
async fn invalid_new_certificate_keeps_the_previous_one_and_is_logged() {
    let kept = "certificate reload failed, keeping the previous one";
    let mut server = Server::start().await;
    server.replace("cert.pem", "broken");
    let line = server.wait_for_log(kept).await;
    assert!(line.contains("WARN") && line.contains("cannot read --cert"), "{line}");
    assert!(!server.uses_second().await);

    // The certificate is the second one, and the key still the first one.
    server.replace("cert.pem", &server.second.cert.pem());
    let line = server.wait_for_log("").await;
    assert!(line.contains(kept) && line.contains("cannot use the key and the certificate"), "{line}");
    assert!(!server.uses_second().await);

    server.install_second();
    server.wait_for_log("certificate reloaded").await;
    assert!(server.uses_second().await);
}

#[tokio::test]
async fn sighup_without_files_is_ignored() {
    // Few peers, so that no file descriptor limit causes a log line.
    let (mut process, address) = start(&["--max-peers", "10"]).await;
    kill("-HUP", &process).await;
    let mut log = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
    let line = log.next_line().await.expect("the log is readable").expect("the server runs");
    assert!(line.contains("SIGHUP ignored: TLS and turn_secret_files are not configured"), "{line}");
    assert!(open(address, "/K").await.connect(1, &[]).await);
}
