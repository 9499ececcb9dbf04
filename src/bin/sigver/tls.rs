//! The server's side of TLS.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Where key and certificates are, as PEM.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    key: PathBuf,
    cert: PathBuf,
    ca: Option<PathBuf>,
}

/// What is in those files. It has the private key, so it has no `Debug`.
#[derive(PartialEq, Eq)]
pub(crate) struct Pem {
    key: Vec<u8>,
    cert: Vec<u8>,
    ca: Option<Vec<u8>>,
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

    pub(crate) fn read(&self) -> Result<Pem, TlsError> {
        Ok(Pem {
            key: read("--key", &self.key)?,
            cert: read("--cert", &self.cert)?,
            ca: self.ca.as_ref().map(|ca| read("--ca", ca)).transpose()?,
        })
    }

    /// Makes of what was read what the server needs, and checks that it belongs together.
    pub(crate) fn acceptor(&self, pem: &Pem) -> Result<TlsAcceptor, TlsError> {
        let mut chain = parse("--cert", &self.cert, &pem.cert)?;
        if let (Some(path), Some(ca)) = (&self.ca, &pem.ca) {
            chain.extend(parse("--ca", path, ca)?);
        }
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(unreadable("--key", &self.key))?;
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
    parse(option, path, &read(option, path)?)
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
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

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{given} is given without {missing}; TLS needs both a key and a certificate")]
    Half { given: &'static str, missing: &'static str },
    #[error("cannot read {option} {}: {error}", path.display())]
    Unreadable { option: &'static str, path: PathBuf, error: String },
    #[error("the key and the certificate cannot be used: {0}")]
    Unfit(rustls::Error),
}
