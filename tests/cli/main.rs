//! The standalone server as its operator uses it.

#![cfg(all(feature = "cli", unix))]

mod admin;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod connections;
#[cfg(target_os = "linux")]
mod handshakes;
mod health;
mod log_format;
mod options;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/redis.rs"]
mod redis;
mod reload;
mod service_manager;
mod shutdown;
mod tls;
mod unix_socket;

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use rcgen::CertifiedKey;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use process::{run, utf8, write};

/// Sends a signal.
async fn kill(signal: &str, process: &Child) {
    let pid = process.id().expect("the process runs").to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.expect("kill starts").success());
}

/// Checks that the server exits with code 1 and one line that contains these words.
async fn fails(args: &[&str], words: &[&str]) {
    let Output { status, stdout, stderr } = run(args).await;
    let stderr = String::from_utf8(stderr).expect("UTF-8");
    assert_eq!(status.code(), Some(1), "{args:?}: {stderr}");
    assert!(stdout.is_empty(), "it did not listen");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{stderr:?} does not contain {word:?}");
    }
}

/// A self-signed certificate for `localhost`, and its files.
struct Certificate {
    pair: CertifiedKey<rcgen::KeyPair>,
    folder: TempDir,
    key: PathBuf,
    cert: PathBuf,
}

impl Certificate {
    fn new() -> Self {
        let pair = self_signed();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = write(folder.path(), "key.pem", &pair.signing_key.serialize_pem());
        let cert = write(folder.path(), "cert.pem", &pair.cert.pem());
        Self { pair, folder, key, cert }
    }

    /// The arguments of a server that uses it.
    fn args(&self) -> [&str; 4] {
        ["-k", utf8(&self.key), "-c", utf8(&self.cert)]
    }
}

fn self_signed() -> CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

/// Returns a TLS client that trusts these certificates.
fn trusting<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).expect("a valid certificate");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports these versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
