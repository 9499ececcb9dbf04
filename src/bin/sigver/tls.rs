//! PEM files as rustls configuration.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// The paths of the server's key and certificates (PEM).
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    key: PathBuf,
    cert: PathBuf,
    ca: Option<PathBuf>,
}

/// The contents of those files. They include the private key, so there is no `Debug`.
#[derive(PartialEq, Eq)]
pub(crate) struct Pem {
    key: Vec<u8>,
    cert: Vec<u8>,
    ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Returns the files, or `None` if no setting names one. An incomplete set is an error: a server that its operator
    /// expects to be encrypted must not fall back to plaintext.
    pub(crate) fn from_settings(
        key: Option<PathBuf>,
        cert: Option<PathBuf>,
        ca: Option<PathBuf>,
    ) -> Result<Option<Self>, TlsError> {
        match (key, cert, ca) {
            (None, None, None) => Ok(None),
            (Some(key), Some(cert), ca) => Ok(Some(Self { key, cert, ca })),
            (Some(_), None, _) => Err(TlsError::Requires { given: "key", missing: "cert" }),
            (None, Some(_), _) => Err(TlsError::Requires { given: "cert", missing: "key" }),
            (None, None, Some(_)) => Err(TlsError::Requires { given: "ca", missing: "key and cert" }),
        }
    }

    pub(crate) fn read(&self) -> Result<Pem, TlsError> {
        Ok(Pem {
            key: read("--key", &self.key)?,
            cert: read("--cert", &self.cert)?,
            ca: self.ca.as_ref().map(|ca| read("--ca", ca)).transpose()?,
        })
    }

    /// Parses the contents, and checks that the key belongs to the certificate.
    pub(crate) fn acceptor(&self, pem: &Pem) -> Result<TlsAcceptor, TlsError> {
        let mut chain = parse("--cert", &self.cert, &pem.cert)?;
        if let (Some(path), Some(ca)) = (&self.ca, &pem.ca) {
            chain.extend(parse("--ca", path, ca)?);
        }
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(unreadable("--key", &self.key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Reads the file of an option.
pub(crate) fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(unreadable(option, path))
}

fn parse(option: &'static str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(unreadable(option, path))?;
    if certificates.is_empty() {
        return Err(unreadable(option, path)(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable<E: Display>(option: &'static str, path: &Path) -> impl FnOnce(E) -> TlsError {
    move |error| TlsError::Unreadable { option, path: path.to_owned(), error: error.to_string() }
}

/// Why TLS cannot be configured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{given} is set; requires {missing}")]
    Requires { given: &'static str, missing: &'static str },
    #[error("cannot read {option} {}: {error}", path.display())]
    Unreadable { option: &'static str, path: PathBuf, error: String },
    #[error("cannot use the key and the certificate: {0}")]
    Unusable(rustls::Error),
}
