//! The certificate in use, replaced when its files change.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

use crate::signals::HangUps;
use crate::tls::{Files, Pem, TlsError};

/// How often the files are looked at. They are read, and not only asked for their age: a copy may keep an old one, and
/// a link may point elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Certificate {
    files: Files,
    /// What was in the files when they were read last: good or not.
    seen: Result<Pem, TlsError>,
    acceptor: watch::Sender<TlsAcceptor>,
}

impl Certificate {
    pub(crate) fn load(files: Files) -> Result<Self, TlsError> {
        let pem = files.read()?;
        let acceptor = watch::Sender::new(files.acceptor(&pem)?);
        Ok(Self { files, seen: Ok(pem), acceptor })
    }

    /// The one in use, now and later.
    pub(crate) fn acceptor(&self) -> watch::Receiver<TlsAcceptor> {
        self.acceptor.subscribe()
    }

    /// Looks at the files every few seconds and with every SIGHUP, and uses what is new in them from the next handshake
    /// on. What cannot be used is said once, and the old one stays.
    pub(crate) async fn renew(&mut self, hang_ups: &mut HangUps) -> Infallible {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = ticks.tick() => false,
                () = hang_ups.next() => true,
            };
            match self.look(asked).await {
                None => {}
                Some(Ok(())) => tracing::info!("the certificate was read again"),
                Some(Err(error)) => tracing::warn!(%error, "the new certificate cannot be used, so the old one stays"),
            }
        }
    }

    /// Uses what is in the files, if it is new or somebody has asked, and says whether it can be used.
    async fn look(&mut self, asked: bool) -> Option<Result<(), TlsError>> {
        let files = self.files.clone();
        // They may be on a disk that takes its time.
        let read = spawn_blocking(move || files.read()).await.expect("reading does not panic");
        if read == self.seen && !asked {
            return None;
        }
        self.seen = read;
        let acceptor = self.seen.as_ref().map_err(Clone::clone).and_then(|pem| self.files.acceptor(pem));
        Some(acceptor.map(|acceptor| _ = self.acceptor.send_replace(acceptor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_used_once_for_each_change_or_question() {
        let folder = tempfile::tempdir().expect("a folder");
        let [key, cert] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name));
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
        std::fs::write(&key, pair.signing_key.serialize_pem()).expect("a file");
        std::fs::write(&cert, pair.cert.pem()).expect("a file");
        let files = Files::given(Some(key), Some(cert.clone()), None).expect("both are given");
        let mut certificate = Certificate::load(files.expect("both are given")).expect("a certificate");

        assert_eq!(certificate.look(false).await, None);
        assert_eq!(certificate.look(true).await, Some(Ok(())));
        std::fs::write(&cert, "broken").expect("a file");
        assert!(matches!(certificate.look(false).await, Some(Err(TlsError::Unreadable { .. }))));
        assert_eq!(certificate.look(false).await, None, "it has been said");
        assert!(matches!(certificate.look(true).await, Some(Err(_))));
        std::fs::remove_file(&cert).expect("it is there");
        assert!(matches!(certificate.look(false).await, Some(Err(_))));
        std::fs::write(&cert, pair.cert.pem()).expect("a file");
        assert_eq!(certificate.look(false).await, Some(Ok(())));
    }
}
