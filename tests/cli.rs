//! The stand-alone server as its operator sees it.

#![cfg(all(feature = "cli", unix))]

#[path = "cli/admin.rs"]
mod admin;
mod common;
#[path = "common/process.rs"]
mod process;

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::open;
use process::{address, run, sigver, start, text, write};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType, IsCa, KeyPair};
use sigver::memory::TestClient;
use sigver::{Frame, Transport};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite;

/// Sends it a signal.
async fn kill(signal: &str, process: &Child) {
    let pid = process.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.expect("there is a kill").success());
}

/// One clear line and a code that is not 0.
async fn refuses(args: &[&str], words: &[&str]) {
    let Output { status, stdout, stderr } = run(args).await;
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(1), "{args:?}: {stderr}");
    assert!(stdout.is_empty(), "it never listened");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{stderr:?} does not say {word:?}");
    }
}

#[tokio::test]
async fn version_and_help_are_said_on_stdout() {
    for args in [["-V"], ["--version"]] {
        let said = String::from_utf8(run(&args).await.stdout).expect("text");
        assert_eq!(said, format!("sigver {}\n", env!("CARGO_PKG_VERSION")));
    }
    let help = String::from_utf8(run(&["--help"]).await.stdout).expect("text");
    for word in
        ["-h, --host <IP>", "-p, --port", "-k, --key", "-c, --cert", "-a, --ca", "0.0.0.0", "8000", "SIGVER_PORT"]
    {
        assert!(help.contains(word), "{help} does not say {word:?}");
    }
}

#[tokio::test]
async fn half_given_tls_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "file", "");
    refuses(&["--key", text(&file)], &["--key is given without --cert"]).await;
    refuses(&["--cert", text(&file)], &["--cert is given without --key"]).await;
    refuses(&["--ca", text(&file)], &["--ca is given without --key and --cert"]).await;
    refuses(&["--key", text(&file), "--ca", text(&file)], &["--key is given without --cert"]).await;
}

#[tokio::test]
async fn a_file_that_is_no_key_or_certificate_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, two] = [0, 1].map(|_| rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair"));
    let key = write(folder.path(), "key.pem", &one.signing_key.serialize_pem());
    let cert = write(folder.path(), "cert.pem", &one.cert.pem());
    let other = write(folder.path(), "other.pem", &two.cert.pem());
    let empty = write(folder.path(), "empty.pem", "");
    let missing = folder.path().join("missing.pem");
    let [key, cert, other, empty, missing] = [&key, &cert, &other, &empty, &missing].map(|path| text(path));

    refuses(&["--key", missing, "--cert", cert], &["cannot read --key", missing]).await;
    refuses(&["--key", key, "--cert", missing], &["cannot read --cert", missing]).await;
    refuses(&["--key", empty, "--cert", cert], &["cannot read --key", empty]).await;
    refuses(&["--key", key, "--cert", empty], &["cannot read --cert", empty]).await;
    refuses(&["--key", key, "--cert", cert, "--ca", missing], &["cannot read --ca", missing]).await;
    refuses(&["--key", key, "--cert", other], &["the key and the certificate cannot be used"]).await;
}

/// A TLS client that trusts these.
fn trusting<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).expect("a root");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn the_intermediate_certificates_are_sent_too() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().expect("a key"))
    };
    let (params, key) = authority("root");
    let root = CertifiedIssuer::self_signed(params, key).expect("a root");
    let (params, key) = authority("intermediate");
    let intermediate = CertifiedIssuer::signed_by(params, key, &root).expect("an intermediate");
    let key = KeyPair::generate().expect("a key");
    let leaf =
        CertificateParams::new(["localhost".to_owned()]).and_then(|params| params.signed_by(&key, &intermediate));

    let folder = tempfile::tempdir().expect("a folder");
    let ca = write(folder.path(), "ca.pem", &intermediate.pem());
    let cert = write(folder.path(), "cert.pem", &leaf.expect("a certificate").pem());
    let key = write(folder.path(), "key.pem", &key.serialize_pem());
    let half = ["-h", "127.0.0.1", "-p", "0", "-k", text(&key), "-c", text(&cert)];
    let whole: Vec<_> = half.into_iter().chain(["-a", text(&ca)]).collect();

    let tls = trusting([root.der()]);
    for (args, trusted) in [(&half[..], false), (&whole, true)] {
        let (_process, line) = start(&mut sigver(args)).await;
        let socket = TcpStream::connect(address(&line)).await.expect("the server listens");
        let name = ServerName::try_from("localhost").expect("a name");
        assert_eq!(tls.connect(name, socket).await.is_ok(), trusted);
    }
}

/// A TLS server whose certificate is about to change.
struct Renewal {
    pairs: [CertifiedKey<KeyPair>; 2],
    folder: TempDir,
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
    line: String,
}

impl Renewal {
    /// Starts the server with the first of two certificates.
    async fn start() -> Self {
        let pairs = [0, 1].map(|_| rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair"));
        let folder = tempfile::tempdir().expect("a folder");
        let key = write(folder.path(), "key.pem", &pairs[0].signing_key.serialize_pem());
        let cert = write(folder.path(), "cert.pem", &pairs[0].cert.pem());
        let args = ["-h", "127.0.0.1", "-p", "0", "-k", text(&key), "-c", text(&cert)];
        let (mut process, line) = start(&mut sigver(&args)).await;
        let log = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        Self { pairs, folder, process, log, line }
    }

    /// Puts the second certificate in the place of the first.
    fn replace(&self) {
        self.put("key.pem", &self.pairs[1].signing_key.serialize_pem());
        self.put("cert.pem", &self.pairs[1].cert.pem());
    }

    /// Replaces a file at once: the server may look at it at any moment.
    fn put(&self, name: &str, text: &str) {
        let new = write(self.folder.path(), "new", text);
        std::fs::rename(new, self.folder.path().join(name)).expect("it is there");
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(address(&self.line)).await.expect("the server listens");
        let tls = trusting(self.pairs.iter().map(|pair| pair.cert.der()));
        let name = ServerName::try_from("localhost").expect("a name");
        tls.connect(name, socket).await.expect("a TLS handshake")
    }

    /// Which of the two certificates a new handshake gets.
    async fn which(&self) -> usize {
        let socket = self.connect().await;
        let [certificate] = socket.get_ref().1.peer_certificates().expect("there is one") else { panic!("only one") };
        self.pairs.iter().position(|pair| pair.cert.der() == certificate).expect("one of the two")
    }

    /// Waits until the log says this, and returns the line.
    async fn says(&mut self, words: &str) -> String {
        let found = async {
            loop {
                let line = self.log.next_line().await.expect("it can be read").expect("it goes on");
                if line.contains(words) {
                    return line;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.expect(words)
    }
}

#[tokio::test]
async fn sighup_has_new_handshakes_get_the_new_certificate_and_open_sockets_stay() {
    let mut server = Renewal::start().await;
    let (stream, _) = tokio_tungstenite::client_async("wss://localhost/K", server.connect().await).await.expect("one");
    let mut held = TestClient::new(sigver::hyper::transport(stream));

    kill("-HUP", &server.process).await;
    server.says("the certificate was read again").await;
    assert_eq!(server.which().await, 0, "nothing has changed");

    server.replace();
    kill("-HUP", &server.process).await;
    server.says("the certificate was read again").await;
    assert_eq!(server.which().await, 1);
    assert!(held.connect(1, &[]).await);
}

#[tokio::test]
async fn a_certificate_whose_files_change_is_read_again_without_a_signal() {
    let mut server = Renewal::start().await;
    assert_eq!(server.which().await, 0);
    server.replace();
    server.says("the certificate was read again").await;
    assert_eq!(server.which().await, 1);
}

#[tokio::test]
async fn a_broken_new_certificate_keeps_the_old_one_and_is_warned_of() {
    let mut server = Renewal::start().await;
    server.put("cert.pem", "broken");
    let line = server.says("WARN").await;
    assert!(line.contains("the old one stays") && line.contains("cannot read --cert"), "{line}");
    assert_eq!(server.which().await, 0);

    // The key is still that of the old one.
    server.put("cert.pem", &server.pairs[1].cert.pem());
    let line = server.says("").await;
    assert!(
        line.contains("the old one stays") && line.contains("the key and the certificate cannot be used"),
        "{line}"
    );
    assert_eq!(server.which().await, 0);

    server.replace();
    server.says("the certificate was read again").await;
    assert_eq!(server.which().await, 1);
}

#[tokio::test]
async fn sighup_to_a_server_without_a_certificate_is_harmless() {
    let (mut process, line) = start(&mut sigver(&["-h", "127.0.0.1", "-p", "0"])).await;
    kill("-HUP", &process).await;
    let mut log = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let said = log.next_line().await.expect("it can be read").expect("it goes on");
    assert!(said.contains("there is no certificate to read again"), "{said}");
    assert!(open(address(&line), "/K").await.connect(1, &[]).await);
}

#[tokio::test]
async fn a_tls_server_speaks_nothing_plain() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let key = write(folder.path(), "key.pem", &pair.signing_key.serialize_pem());
    let cert = write(folder.path(), "cert.pem", &pair.cert.pem());
    let args = ["-h", "127.0.0.1", "-p", "0", "-k", text(&key), "-c", text(&cert)];
    let (_process, line) = start(&mut sigver(&args)).await;
    let socket = TcpStream::connect(address(&line)).await.expect("the server listens");
    assert!(tokio_tungstenite::client_async("ws://localhost/K", socket).await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = taken.local_addr().expect("a bound socket has an address").port().to_string();
    refuses(&["-h", "127.0.0.1", "-p", &port], &["cannot listen on 127.0.0.1:", &port, "in use"]).await;
    refuses(&["-h", "no.such.host.invalid", "-p", "0"], &["cannot listen on no.such.host.invalid:0"]).await;
}

#[tokio::test]
async fn a_word_that_is_no_option_is_refused() {
    for args in [&["--nonsense"][..], &["-p", "65536"], &["-p"], &["-h"], &["extra"]] {
        let Output { status, stderr, .. } = run(args).await;
        assert_eq!(status.code(), Some(2), "{args:?}");
        assert!(!stderr.is_empty());
    }
}

#[tokio::test]
async fn options_may_come_from_the_environment() {
    let mut command = sigver(&[]);
    command.env("SIGVER_HOST", "127.0.0.1").env("SIGVER_PORT", "0");
    let (_process, line) = start(&mut command).await;
    assert!(address(&line).starts_with("127.0.0.1:"), "{line}");
    assert!(!line.ends_with(":0"), "the real port is said");

    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "key.pem", "");
    let mut command = sigver(&[]);
    let output = command.env("SIGVER_KEY", &file).output().await.expect("it starts");
    assert!(String::from_utf8(output.stderr).expect("text").contains("--key is given without --cert"));
}

#[tokio::test]
async fn sigint_and_sigterm_close_all_peers_with_1001() {
    for signal in ["-INT", "-TERM"] {
        let (mut process, line) = start(&mut sigver(&["-h", "127.0.0.1", "-p", "0"])).await;
        let mut peers = [open(address(&line), "/K").await, open(address(&line), "/another").await];
        for peer in &mut peers {
            assert!(peer.connect(1, &[]).await);
        }
        kill(signal, &process).await;
        for mut peer in peers {
            assert_eq!(peer.recv_close().await, 1001);
        }
        let status = tokio::time::timeout(Duration::from_secs(60), process.wait()).await.expect("it ends");
        assert_eq!(status.expect("it can be waited for").code(), Some(0), "{signal}");
    }
}

/// A server with two members, whose log is piped.
async fn with_two_peers(args: &[&str]) -> (Child, String, Vec<TestClient<impl Transport + Unpin + use<>>>) {
    let args: Vec<_> = ["-h", "127.0.0.1", "-p", "0"].iter().chain(args).copied().collect();
    let (process, line) = start(&mut sigver(&args)).await;
    let mut peers = Vec::new();
    for path in ["/K", "/another"] {
        let mut peer = open(address(&line).to_owned(), path).await;
        assert!(peer.connect(1, &[]).await);
        peers.push(peer);
    }
    (process, line, peers)
}

/// Waits until the hub closes one of two peers with 1001, and returns the other.
async fn first_closed<T: Transport + Unpin>(peers: Vec<TestClient<T>>) -> TestClient<T> {
    let [mut one, mut other] = <[_; 2]>::try_from(peers).ok().expect("two peers");
    tokio::select! {
        code = one.recv_close() => assert_eq!(code, 1001),
        code = other.recv_close() => {
            assert_eq!(code, 1001);
            return one;
        }
    }
    other
}

/// The server exits well; what it has logged.
async fn ends(mut process: Child) -> String {
    let mut log = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut log).await.expect("it can be read");
    let status = tokio::time::timeout(Duration::from_secs(60), process.wait()).await.expect("it ends");
    assert_eq!(status.expect("it can be waited for").code(), Some(0), "{log}");
    log
}

#[tokio::test]
async fn sigterm_closes_peers_spread_over_the_drain_and_newcomers_get_503() {
    let (process, line, peers) = with_two_peers(&["--drain", "5s", "--close-timeout", "1s"]).await;
    let asked = Instant::now();
    kill("-TERM", &process).await;
    let mut other = first_closed(peers).await;
    let socket = TcpStream::connect(address(&line)).await.expect("the server still listens");
    match tokio_tungstenite::client_async("ws://localhost/K", socket).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        handshake => panic!("{handshake:?}"),
    }
    assert_eq!(other.recv_close().await, 1001);
    // The first one at once, the second after half of the four seconds that are there for closing.
    assert!(asked.elapsed() > Duration::from_millis(1900), "{:?}", asked.elapsed());
    let log = ends(process).await;
    assert!(log.contains("the drain is over left=0"), "{log}");
}

#[tokio::test]
async fn a_second_signal_cuts_the_drain_short() {
    for signal in ["-INT", "-TERM"] {
        let (process, _, peers) = with_two_peers(&["--drain", "1h"]).await;
        kill("-TERM", &process).await;
        let mut other = first_closed(peers).await;
        kill(signal, &process).await;
        assert_eq!(other.recv_close().await, 1001);
        let log = ends(process).await;
        assert!(log.contains("the drain is cut short") && log.contains(" left=1"), "{log}");
    }
}

#[tokio::test]
async fn sigint_drains_nothing() {
    let (process, _, peers) = with_two_peers(&["--drain", "1h"]).await;
    kill("-INT", &process).await;
    for mut peer in peers {
        assert_eq!(peer.recv_close().await, 1001);
    }
    assert!(!ends(process).await.contains("drain"));
}

/// Whether the server hangs up on a peer that sends this much and no more.
async fn hangs_up(address: &str, sent: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    socket.write_all(sent).await.expect("the server reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer));
    read.await.expect("the server hangs up").expect("in order");
    answer
}

#[tokio::test]
async fn a_connection_that_never_gets_to_its_request_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let key = write(folder.path(), "key.pem", &pair.signing_key.serialize_pem());
    let cert = write(folder.path(), "cert.pem", &pair.cert.pem());
    let plain = ["-h", "127.0.0.1", "-p", "0"];
    let tls: Vec<_> = plain.into_iter().chain(["-k", text(&key), "-c", text(&cert)]).collect();
    let (_plain, plain) = start(&mut sigver(&plain)).await;
    let (_tls, tls) = start(&mut sigver(&tls)).await;
    let (plain, tls) = (address(&plain), address(&tls));
    // The first byte of a TLS handshake; and a request whose head has no end.
    let ends = tokio::join!(hangs_up(plain, b""), hangs_up(plain, b"GET /K"), hangs_up(tls, b""), hangs_up(tls, &[22]));
    assert!(ends.1.is_empty() || ends.1.starts_with(b"HTTP/1.1 408 "), "{ends:?}");
}

#[tokio::test]
async fn a_request_head_over_32_kib_is_refused() {
    let (_process, line) = start(&mut sigver(&["-h", "127.0.0.1", "-p", "0"])).await;
    let head = format!("GET /K HTTP/1.1\r\nCookie: {}", "x".repeat(40_000));
    let answer = hangs_up(address(&line), head.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_server_without_a_free_file_says_so_and_goes_on_when_there_is_one() {
    let mut command = Command::new("sh");
    let script = "ulimit -n 24; exec \"$0\" -h 127.0.0.1 -p 0";
    command.args(["-c", script, env!("CARGO_BIN_EXE_sigver")]);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut process, line) = start(&mut command).await;
    let mut log = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let mut sockets = Vec::new();
    for _ in 0..30 {
        sockets.push(TcpStream::connect(address(&line)).await.expect("the kernel accepts"));
    }
    let said = log.next_line().await.expect("it can be read").expect("it says what is wrong");
    assert!(said.contains("cannot accept a connection"), "{said}");
    drop(sockets);
    assert!(open(address(&line), "/K").await.connect(1, &[]).await);
}

#[tokio::test]
async fn a_payload_and_a_key_are_never_logged() {
    let mut command = sigver(&["-h", "127.0.0.1", "-p", "0"]);
    let (mut process, line) = start(command.env("RUST_LOG", "trace")).await;
    let mut peers = [open(address(&line), "/the-key").await, open(address(&line), "/the-key").await];
    let [member, joiner] = &mut peers;
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "the-payload").await;
    assert_eq!(member.recv_content().await.1, "the-payload");
    joiner.send_frame(Frame::Text("the-text".into())).await;
    assert_eq!(joiner.recv_close().await, 4743);

    kill("-TERM", &process).await;
    let mut log = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut log).await.expect("it can be read");
    assert!(log.contains("peer{peer=0 group=") && log.contains("opened") && log.contains("closed with 4743"), "{log}");
    // tungstenite would write hexadecimal digits: those of "the-".
    for secret in ["the-key", "the-payload", "the-text", "7468652d"] {
        assert!(!log.contains(secret), "{log}");
    }
}
