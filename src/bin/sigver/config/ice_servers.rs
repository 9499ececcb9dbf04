//! The ICE servers that the settings name.

use sigver::{HubBuilder, IceServers};

use super::error::ConfigError;
use super::secrets::{self, Secret};
use crate::settings::{Settings, Time};

/// Passes the ICE servers to the hub, if there are any.
pub(super) fn apply(settings: &Settings, builder: HubBuilder) -> Result<HubBuilder, ConfigError> {
    let secrets = secrets::TURN.read(settings.turn_secret_files.as_deref())?;
    let urls = settings.ice_servers.as_deref().unwrap_or_default();
    let (turn, stun): (Vec<_>, Vec<_>) = urls.iter().partition(|url| url.starts_with("turn"));
    match (turn.is_empty(), secrets.is_empty()) {
        (false, true) => {
            let given = "ice_servers with a turn: or turns: URL";
            return Err(ConfigError::Requires { given, missing: "turn_secret_files" });
        }
        (true, false) => {
            let missing = "ice_servers with a turn: or turns: URL";
            return Err(ConfigError::Requires { given: "the secret of TURN servers", missing });
        }
        _ => {}
    }
    if settings.ice_servers.is_none() {
        return Ok(builder);
    }
    let Time(ttl) = settings.turn_ttl.expect("the setting has a default");
    let mut servers = IceServers::new().ttl(ttl).stun(stun);
    for Secret { origin, bytes } in secrets {
        servers = servers.turn(&turn, bytes);
        servers.check().map_err(|error| match error.field() {
            "turn_secret" => ConfigError::Secret { origin, error },
            _ => ConfigError::Hub(error),
        })?;
    }
    Ok(builder.ice_servers(servers))
}
