//! Opens the WebSocket to the hub. The only file that knows the WebSocket library.

use std::sync::Arc;

use sigver::Transport;
use sigver::TransportError;
use sigver::client::Client;
use tokio_tungstenite::Connector;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::OptionsError;
use crate::event::Close;

/// A hub passes on messages of at most 1 MiB by default; signals have a few KiB.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const POLICY: u16 = 1008;

/// Headers and TLS of the request that opens a WebSocket.
#[derive(Clone)]
pub(crate) struct Dialer {
    headers: Vec<(HeaderName, HeaderValue)>,
    tls: Arc<rustls::ClientConfig>,
}

impl Dialer {
    pub(crate) fn new(headers: &[(String, String)], certificate_authorities: &[u8]) -> Result<Self, OptionsError> {
        let header = |(name, value): &(String, String)| {
            let parsed = name.parse().ok().zip(value.parse().ok());
            parsed.ok_or_else(|| OptionsError::Header { name: name.clone() })
        };
        let mut roots = rustls::RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::debug!(%error, "cannot read a certificate of the operating system");
        }
        roots.add_parsable_certificates(native.certs);
        for certificate in CertificateDer::pem_slice_iter(certificate_authorities) {
            let added = certificate.map(|certificate| roots.add(certificate));
            added.ok().and_then(Result::ok).ok_or(OptionsError::CertificateAuthorities)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { headers: headers.iter().map(header).collect::<Result<_, _>>()?, tls: Arc::new(tls) })
    }

    /// Opens a WebSocket. On failure, returns the close that the failure means: the HTTP statuses 401 and 403 mean 1008,
    /// all others a lost connection.
    pub(crate) async fn open(
        &self,
        url: &str,
    ) -> Result<Client<impl Transport<Err = TransportError> + Unpin + use<>>, Option<Close>> {
        let mut request = url.into_client_request().map_err(|error| lost(&error))?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let connector = Connector::Rustls(self.tls.clone());
        let opened =
            tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, Some(connector)).await;
        match opened {
            Ok((socket, _)) => Ok(Client::new(sigver::hyper::transport(socket))),
            Err(Error::Http(response)) => {
                let status = response.status();
                let body = response.into_body().unwrap_or_default();
                let body: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                tracing::debug!(%status, body, "the hub rejected the WebSocket");
                let is_final = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                Err(is_final.then(|| Close::new(POLICY, format!("HTTP {status}: {body}"))))
            }
            Err(error) => Err(lost(&error)),
        }
    }
}

fn lost(error: &Error) -> Option<Close> {
    tracing::debug!(%error, "cannot open a WebSocket to the hub");
    None
}
