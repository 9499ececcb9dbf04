//! Opens the WebSocket to the hub. The only file that knows how.

use sigver::client::{Client, Connector, JoinError, WebSocket};

use super::outage::describe;
use crate::error::OptionsError;
use crate::event::Close;

/// Signals have a few KiB. A hub passes on messages of at most 64 KiB by default.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const POLICY: u16 = 1008;

/// Why a WebSocket did not open.
pub(super) struct NotOpened {
    /// The close that the failure means. `None`: a lost connection.
    pub(super) close: Option<Close>,
    /// For the log.
    pub(super) cause: String,
}

/// Headers and TLS of the request that opens a WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    headers: Vec<(String, String)>,
    certificate_authorities: Vec<u8>,
}

impl Dialer {
    /// `url` is that of the group, for checking the settings.
    pub(crate) fn new(
        url: &str,
        headers: Vec<(String, String)>,
        certificate_authorities: Vec<u8>,
    ) -> Result<Self, OptionsError> {
        let dialer = Self { headers, certificate_authorities };
        match dialer.connector(url) {
            Err(JoinError::Header { name, .. }) => Err(OptionsError::Header { name }),
            Err(JoinError::Ca(_)) => Err(OptionsError::CertificateAuthorities),
            // Other errors may pass, and are reported when the WebSocket is opened.
            Ok(_) | Err(_) => Ok(dialer),
        }
    }

    fn connector(&self, url: &str) -> Result<Connector, JoinError> {
        let mut connector = Connector::new(url)?.max_message_bytes(MAX_MESSAGE_BYTES);
        for (name, value) in &self.headers {
            connector = connector.header(name, value)?;
        }
        if self.certificate_authorities.is_empty() {
            Ok(connector)
        } else {
            connector.ca(&self.certificate_authorities)
        }
    }

    /// Opens a WebSocket. The HTTP statuses 401 and 403 mean the close code 1008, all other failures a lost connection.
    pub(super) async fn open(&self, url: &str) -> Result<Client<WebSocket>, NotOpened> {
        let opened = match self.connector(url) {
            Ok(connector) => connector.join_url().await,
            Err(error) => Err(error),
        };
        opened.map_err(|error| {
            let cause = describe(&error);
            tracing::debug!(cause, "cannot open a WebSocket to the hub");
            let close = match error {
                JoinError::Rejected { status: status @ (401 | 403), body, .. } => {
                    let body: String = body.chars().filter(|it| !it.is_control()).take(200).collect();
                    Some(Close::new(POLICY, format!("HTTP {status}: {body}")))
                }
                _ => None,
            };
            NotOpened { close, cause }
        })
    }
}
