//! The server's side of TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Where key and certificates are, as PEM.
#[derive(Debug)]
pub(crate) struct Files {
    key: PathBuf,
    cert: PathBuf,
    ca: Option<PathBuf>,
}

impl Files {
    /// The files, if any is given. Half of them is an error: a server that its operator takes for encrypted must not
    /// fall back to plain.
    pub(crate) fn given(
        key: Option<PathBuf>,
        cert: Option<PathBuf>,
        ca: Option<PathBuf>,
    ) -> Result<Option<Self>, TlsError> {
        match (key, cert, ca) {
            (None, None, None) => Ok(None),
            (Some(key), Some(cert), ca) => Ok(Some(Self { key, cert, ca })),
            (Some(_), None, _) => Err(TlsError::Half { given: "--key", missing: "--cert" }),
            (None, Some(_), _) => Err(TlsError::Half { given: "--cert", missing: "--key" }),
            (None, None, Some(_)) => Err(TlsError::Half { given: "--ca", missing: "--key and --cert" }),
        }
    }

    /// Reads all of them, and checks that they belong together.
    pub(crate) fn load(&self) -> Result<TlsAcceptor, TlsError> {
        let mut chain = certificates("--cert", &self.cert)?;
        if let Some(ca) = &self.ca {
            chain.extend(certificates("--ca", ca)?);
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(unreadable("--key", &self.key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsError::Unfit)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// All certificates of a file, at least one.
pub(crate) fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(unreadable(option, path))?;
    if certificates.is_empty() {
        return Err(unreadable(option, path)(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(option: &'static str, path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    move |error| TlsError::Unreadable { option, path: path.to_owned(), error: error.to_string() }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{given} is given without {missing}; TLS needs both a key and a certificate")]
    Half { given: &'static str, missing: &'static str },
    #[error("cannot read {option} {}: {error}", path.display())]
    Unreadable { option: &'static str, path: PathBuf, error: String },
    #[error("the key and the certificate cannot be used: {0}")]
    Unfit(rustls::Error),
}
