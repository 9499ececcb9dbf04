//! TLS with the CA certificates of this machine, and CA certificates of the app.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, DEFAULT_VERSIONS, ProtocolVersion, RootCertStore};

use super::join_error::JoinError;
use super::socket::Socket;

/// Clones share the certificates of this machine, which are read once, and the sessions that TLS can resume.
#[derive(Clone)]
pub(super) struct Tls {
    /// The CA certificates that the app trusts.
    added: RootCertStore,
    connector: Arc<OnceCell<TlsConnector>>,
}

impl Tls {
    pub(super) fn new() -> Self {
        Self { added: RootCertStore::empty(), connector: Arc::default() }
    }

    /// Also trusts the CA certificates in this PEM text.
    pub(super) fn add(&mut self, pem: &[u8]) -> Result<(), JoinError> {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| JoinError::Ca(error.to_string()))?;
            self.added.add(certificate).map_err(|error| JoinError::Ca(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(JoinError::Ca("no certificate found".to_owned()));
        }
        self.connector = Arc::default();
        Ok(())
    }

    /// Performs the handshake with the server `host`.
    pub(super) async fn connect<S>(&self, host: &str, stream: S) -> Result<Socket, JoinError>
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        let name = ServerName::try_from(host.to_owned()).expect("the URL was checked to contain such a name");
        let connector = self.connector.get_or_try_init(|| self.load()).await?;
        match connector.connect(name, stream).await {
            Ok(stream) => {
                let version = match stream.get_ref().1.protocol_version() {
                    Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                    _ => "TLS 1.2",
                };
                Ok(Socket::new(stream, Some(version)))
            }
            Err(error) => Err(JoinError::Tls { host: host.to_owned(), error }),
        }
    }

    async fn load(&self) -> Result<TlsConnector, JoinError> {
        // Reads many files on some platforms. The task cannot fail, except that the runtime shuts down.
        let native = spawn_blocking(rustls_native_certs::load_native_certs).await.unwrap_or_default();
        let mut roots = self.added.clone();
        // An unreadable certificate matters only to a server that uses it, which the handshake reports.
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            let errors = native.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(JoinError::NoTrustedCa(if errors.is_empty() { "none found".to_owned() } else { errors }));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(DEFAULT_VERSIONS)
            .expect("the provider supports these versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
