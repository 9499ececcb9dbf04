//! The settings of a [`RedisBackplane`].

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::backplane::RedisBackplane;
use super::client::Client;
use super::connection::{Dialer, Login};
use super::routes::{Nodes, Routes};
use super::sentinel::Sentinels;
use super::url::{Servers, Url};

/// The settings of a [`RedisBackplane`].
#[derive(Clone)]
#[must_use]
pub struct RedisBackplaneBuilder {
    url: String,
    name: String,
    login: Login,
    sentinel_login: Login,
    ca_certificates: Option<Vec<u8>>,
    allows_unencrypted: bool,
    max_inbox_entries: usize,
}

/// An invalid setting of a [`RedisBackplane`]. The text has no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{setting} {rule}")]
pub struct RedisConfigError {
    setting: &'static str,
    rule: String,
}

impl RedisBackplane {
    /// Starts the settings of a backplane: the URL of an engine, and the name of the cluster.
    pub fn builder(url: impl Into<String>, name: impl Into<String>) -> RedisBackplaneBuilder {
        RedisBackplaneBuilder {
            url: url.into(),
            name: name.into(),
            login: Login::default(),
            sentinel_login: Login::default(),
            ca_certificates: None,
            allows_unencrypted: false,
            max_inbox_entries: 10_000,
        }
    }
}

impl RedisBackplaneBuilder {
    /// Sets the user, in place of that of the URL. Default: the engine's user `default`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.login.user = Some(user.into());
        self
    }

    /// Sets the password, in place of that of the URL.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.login.password = Some(password.into());
        self
    }

    /// Sets the user for the Sentinels. They have users of their own.
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        self.sentinel_login.user = Some(user.into());
        self
    }

    /// Sets the password for the Sentinels. Default: none. That of the URL is for the servers.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_login.password = Some(password.into());
        self
    }

    /// Sets the certificate authorities (PEM) that may sign the certificate of the engine. Default: those of the system.
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates = Some(pem.into());
        self
    }

    /// Allows connections without TLS to servers that are not on this machine. Default: false.
    ///
    /// An attacker in the network can read the password and the signals of all peers, and can impersonate peers.
    pub fn allow_unencrypted(mut self, allow: bool) -> Self {
        self.allows_unencrypted = allow;
        self
    }

    /// Sets the number of batches above which the inbox of a node drops the oldest ones. Default: 10 000. It must be at
    /// least 1.
    ///
    /// An inbox keeps batches that were read, too. If a node falls behind by more than this, the links of the node to
    /// other nodes end.
    pub fn max_inbox_entries(mut self, count: usize) -> Self {
        self.max_inbox_entries = count;
        self
    }

    /// Creates the backplane. It connects when it is used.
    ///
    /// # Errors
    /// Returns an error for the first invalid setting. An engine that cannot be reached is not an error here: a hub
    /// keeps trying, and is not ready until then.
    pub fn build(self) -> Result<RedisBackplane, RedisConfigError> {
        let is_valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=32).contains(&self.name.len()) || !self.name.chars().all(is_valid) {
            return Err(invalid("name", "must have 1 to 32 of the characters a-z, 0-9 and -"));
        }
        if self.max_inbox_entries == 0 {
            return Err(invalid("max_inbox_entries", "is 0; must be at least 1"));
        }
        let Url { is_tls, servers, user, password, database } =
            Url::parse(&self.url).map_err(|rule| invalid("url", rule))?;
        let (Servers::Nodes(addresses) | Servers::Sentinels(addresses, _)) = &servers;
        if !is_tls && !self.allows_unencrypted && !addresses.iter().all(|address| address.is_loopback()) {
            let rule = "must start with rediss:// or rediss+sentinel://, because a host is not loopback; \
                        allow_unencrypted allows it without TLS";
            return Err(invalid("url", rule));
        }
        if self.ca_certificates.is_some() && !is_tls {
            return Err(invalid("ca_certificates", "must not be set for a url without TLS"));
        }
        let login = Login { user: self.login.user.or(user), password: self.login.password.or(password) };
        for (setting, login) in [("user", &login), ("sentinel_user", &self.sentinel_login)] {
            if login.user.is_some() && login.password.is_none() {
                return Err(invalid(setting, "must not be set without a password"));
            }
        }
        let dialer = Dialer {
            tls: if is_tls { Some(tls(self.ca_certificates.as_deref())?) } else { None },
            allows_unencrypted: self.allows_unencrypted,
            login,
            database,
            is_cluster: addresses.len() > 1 && matches!(servers, Servers::Nodes(_)),
        };
        let routes = match servers {
            Servers::Nodes(addresses) => Routes::Nodes(Nodes::new(addresses)),
            Servers::Sentinels(addresses, service) => {
                let dialer = Dialer { login: self.sentinel_login, database: 0, ..dialer.clone() };
                Routes::Sentinels(Sentinels::new(addresses, service, dialer))
            }
        };
        Ok(RedisBackplane::new(Client { dialer, routes }, &self.name, self.max_inbox_entries))
    }
}

/// Without credentials, and without the URL, which may have them.
impl fmt::Debug for RedisBackplaneBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplaneBuilder")
            .field("name", &self.name)
            .field("allow_unencrypted", &self.allows_unencrypted)
            .field("max_inbox_entries", &self.max_inbox_entries)
            .finish_non_exhaustive()
    }
}

fn invalid(setting: &'static str, rule: impl Into<String>) -> RedisConfigError {
    RedisConfigError { setting, rule: rule.into() }
}

/// Returns what opens TLS connections. The certificates are those in `pem`, or those of the system.
fn tls(pem: Option<&[u8]>) -> Result<TlsConnector, RedisConfigError> {
    let mut roots = RootCertStore::empty();
    match pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                certificate
                    .map_err(io::Error::other)
                    .and_then(|certificate| roots.add(certificate).map_err(io::Error::other))
                    .map_err(|error| invalid("ca_certificates", format!("must be certificates in PEM: {error}")))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        let rule = "must have at least one certificate in PEM; without it, the system must have some";
        return Err(invalid("ca_certificates", rule));
    }
    // An app may have several providers, so a default one may be missing.
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
