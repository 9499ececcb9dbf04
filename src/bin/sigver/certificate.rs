//! The TLS certificate in use. It is reloaded when its files change.

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::polled::Polled;
use crate::tls::{Pem, TlsError, TlsFiles};

pub(crate) struct Certificate {
    files: TlsFiles,
    pem: Polled<Pem, TlsError>,
    acceptor: watch::Sender<TlsAcceptor>,
}

impl Certificate {
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let pem = files.read()?;
        let acceptor = watch::Sender::new(files.acceptor(&pem)?);
        Ok(Self { files, pem: Polled(Ok(pem)), acceptor })
    }

    /// Returns the acceptor in use, which changes with every reload.
    pub(crate) fn acceptor(&self) -> watch::Receiver<TlsAcceptor> {
        self.acceptor.subscribe()
    }

    /// Reloads the files if their contents have changed, or if `force` is set. New handshakes use the new certificate.
    /// An invalid one is logged once and keeps the previous one in use.
    pub(crate) async fn reload(&mut self, force: bool) {
        match self.poll_files(force).await {
            None => {}
            Some(Ok(())) => tracing::info!("certificate reloaded"),
            Some(Err(error)) => tracing::warn!(%error, "certificate reload failed, keeping the previous one"),
        }
    }

    /// Returns `None` if it loads nothing.
    async fn poll_files(&mut self, force: bool) -> Option<Result<(), TlsError>> {
        let files = self.files.clone();
        let pem = self.pem.poll(force, move || files.read()).await?;
        let acceptor = pem.and_then(|pem| self.files.acceptor(pem));
        Some(acceptor.map(|acceptor| _ = self.acceptor.send_replace(acceptor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_loaded_once_per_change_or_forced_reload() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [key, cert] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name));
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(&key, pair.signing_key.serialize_pem()).expect("the file is writable");
        std::fs::write(&cert, pair.cert.pem()).expect("the file is writable");
        let files = TlsFiles::from_settings(Some(key), Some(cert.clone()), None).expect("both are set");
        let mut certificate = Certificate::load(files.expect("both are set")).expect("both are valid");

        assert_eq!(certificate.poll_files(false).await, None);
        assert_eq!(certificate.poll_files(true).await, Some(Ok(())));
        std::fs::write(&cert, "broken").expect("the file is writable");
        assert!(matches!(certificate.poll_files(false).await, Some(Err(TlsError::Unreadable { .. }))));
        assert_eq!(certificate.poll_files(false).await, None, "the error was already reported");
        assert!(matches!(certificate.poll_files(true).await, Some(Err(_))));
        std::fs::remove_file(&cert).expect("the file exists");
        assert!(matches!(certificate.poll_files(false).await, Some(Err(_))));
        std::fs::write(&cert, pair.cert.pem()).expect("the file is writable");
        assert_eq!(certificate.poll_files(false).await, Some(Ok(())));
    }
}
