//! The ICE servers that the settings name.

use sigver::{HubBuilder, IceServers};

use super::error::ConfigError;
use super::secrets::{self, Secret};
use crate::settings::{Settings, Time};

const TURN_SERVERS: &str = "ice_servers with a turn: or turns: URL";
const TCP_SERVERS: &str = "ice_servers with a turns: URL or a URL with ?transport=tcp";

/// Passes the ICE servers to the hub, if there are any.
pub(super) fn apply(settings: &Settings, builder: HubBuilder) -> Result<HubBuilder, ConfigError> {
    let secrets = secrets::TURN.read(settings.turn_secret_files.as_deref())?;
    let urls = settings.ice_servers.as_deref().unwrap_or_default();
    let (turn, stun): (Vec<_>, Vec<_>) = urls.iter().partition(|url| url.starts_with("turn"));
    let tcp: Vec<_> = turn.iter().copied().filter(|url| is_tcp(url)).collect();
    let requires = |given, missing| Err(ConfigError::Requires { given, missing });
    match (turn.len(), tcp.len(), secrets.len()) {
        (1.., _, 0) => return requires(TURN_SERVERS, "turn_secret_files"),
        (0, _, 1..) => return requires("the secret of TURN servers", TURN_SERVERS),
        (_, 0, 2..) => return requires("a second secret of TURN servers", TCP_SERVERS),
        _ => {}
    }
    if settings.ice_servers.is_none() {
        return Ok(builder);
    }
    let Time(ttl) = settings.turn_ttl.expect("the setting has a default");
    let mut servers = IceServers::new().ttl(ttl).stun(stun);
    // Over UDP, Chromium uses only the first credential for a server.
    for (Secret { origin, bytes }, urls) in secrets.into_iter().zip([turn, tcp]) {
        servers = servers.turn(urls, bytes);
        servers.check().map_err(|error| match error.field() {
            "turn_secret" => ConfigError::Secret { origin, error },
            _ => ConfigError::Hub(error),
        })?;
    }
    Ok(builder.ice_servers(servers))
}

/// Returns whether a client has a connection of its own for this server.
fn is_tcp(url: &str) -> bool {
    url.ends_with("?transport=tcp") || (url.starts_with("turns:") && !url.ends_with("?transport=udp"))
}
