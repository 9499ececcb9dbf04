//! The ICE servers that the settings name.

use std::path::PathBuf;
use std::time::Duration;

use sigver::IceServers;

use super::error::ConfigError;
use super::secrets::{self, Secret};
use crate::settings::{Settings, Time};

const TURN_SERVERS: &str = "ice_servers with a turn: or turns: URL";
const TCP_SERVERS: &str = "ice_servers with a turns: URL or a URL with ?transport=tcp";

/// The settings of the ICE servers. The secrets are in files, which may change, or in the environment.
#[derive(Clone)]
pub(super) struct IceSettings {
    urls: Option<Vec<String>>,
    secret_files: Option<Vec<PathBuf>>,
    ttl: Duration,
}

impl IceSettings {
    pub(super) fn new(settings: &Settings) -> Self {
        let Time(ttl) = settings.turn_ttl.expect("the setting has a default");
        Self { urls: settings.ice_servers.clone(), secret_files: settings.turn_secret_files.clone(), ttl }
    }

    /// Returns whether the secrets are in files.
    pub(super) fn has_secret_files(&self) -> bool {
        self.secret_files.is_some()
    }

    /// Returns the secrets of the TURN servers, the primary one first.
    pub(super) fn read_secrets(&self) -> Result<Vec<Secret>, ConfigError> {
        secrets::TURN.read(self.secret_files.as_deref())
    }

    /// Returns the ICE servers with these secrets, if there are any servers.
    pub(super) fn servers(&self, secrets: &[Secret]) -> Result<Option<IceServers>, ConfigError> {
        let urls = self.urls.as_deref().unwrap_or_default();
        let (turn, stun): (Vec<_>, Vec<_>) = urls.iter().partition(|url| url.starts_with("turn"));
        let tcp: Vec<_> = turn.iter().copied().filter(|url| is_tcp(url)).collect();
        let requires = |given, missing| Err(ConfigError::Requires { given, missing });
        match (turn.len(), tcp.len(), secrets.len()) {
            (1.., _, 0) => return requires(TURN_SERVERS, "turn_secret_files"),
            (0, _, 1..) => return requires("the secret of TURN servers", TURN_SERVERS),
            (_, 0, 2..) => return requires("a second secret of TURN servers", TCP_SERVERS),
            _ => {}
        }
        if self.urls.is_none() {
            return Ok(None);
        }
        let mut servers = IceServers::new().ttl(self.ttl).stun(stun);
        // Over UDP, Chromium uses only the first credential for a server.
        for (Secret { origin, bytes }, urls) in secrets.iter().zip([turn, tcp]) {
            servers = servers.turn(urls, bytes);
            servers.check().map_err(|error| match error.field() {
                "turn_secret" => ConfigError::Secret { origin: origin.clone(), error },
                _ => ConfigError::Hub(error),
            })?;
        }
        Ok(Some(servers))
    }
}

/// Returns whether a client has a connection of its own for this server.
fn is_tcp(url: &str) -> bool {
    url.ends_with("?transport=tcp") || (url.starts_with("turns:") && !url.ends_with("?transport=udp"))
}
