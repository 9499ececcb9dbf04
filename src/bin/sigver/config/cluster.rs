//! The cluster that the settings name.

use std::path::Path;

use sigver::cluster::{RedisBackplane, RedisBackplaneBuilder};
use sigver::{ClusterConfig, ClusterDriver, HubBuilder, SignalingHub};

use super::error::ConfigError;
use super::secrets;
use crate::settings::Settings;

/// Builds the hub, and what connects it to the other servers if the settings have the URL of a cluster.
pub(super) fn build(
    settings: &Settings,
    builder: HubBuilder,
) -> Result<(SignalingHub, Option<ClusterDriver>), ConfigError> {
    let Some(backplane) = backplane(settings)? else { return Ok((builder.build()?, None)) };
    let config = settings.apply_cluster_limits(ClusterConfig::new(backplane));
    let (hub, driver) = builder.build_cluster(config).map_err(|error| {
        let is_of_cluster = !Settings::NAMES.contains(&error.field());
        if is_of_cluster { ConfigError::Cluster(error) } else { ConfigError::Hub(error) }
    })?;
    Ok((hub, Some(driver)))
}

/// Returns the URL without its user and password. What is before the last `@` may be a part of the password, even if
/// the URL is invalid.
pub(super) fn without_login(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    match rest.rsplit_once('@') {
        Some((_, hosts)) => scheme + hosts,
        None => url.to_owned(),
    }
}

fn backplane(settings: &Settings) -> Result<Option<RedisBackplane>, ConfigError> {
    let Settings {
        cluster_url: url,
        cluster_name: name,
        cluster_user: user,
        cluster_password_file: password,
        cluster_sentinel_user: sentinel_user,
        cluster_sentinel_password_file: sentinel_password,
        cluster_ca_certificates: ca,
        cluster_allow_unencrypted: allow_unencrypted,
        cluster_max_inbox_entries: max_inbox_entries,
        ..
    } = settings;
    let Some(url) = url else {
        // A server that its operator expects to be in a cluster must not run alone. The settings with a default are in
        // each printed file.
        for (given, is_set) in [
            ("cluster.user", user.is_some()),
            ("cluster.password_file", password.is_some()),
            ("cluster.sentinel_user", sentinel_user.is_some()),
            ("cluster.sentinel_password_file", sentinel_password.is_some()),
            ("cluster.ca_certificates", ca.is_some()),
            ("cluster.allow_unencrypted", *allow_unencrypted == Some(true)),
        ] {
            if is_set {
                return Err(ConfigError::Requires { given, missing: "cluster.url" });
            }
        }
        return Ok(None);
    };
    let mut builder = RedisBackplane::builder(url, name.as_deref().expect("the setting has a default"))
        .allow_unencrypted(allow_unencrypted.unwrap_or(false))
        .max_inbox_entries(max_inbox_entries.expect("the setting has a default"));
    if let Some(user) = user {
        builder = builder.user(user);
    }
    if let Some(path) = password {
        builder = builder.password(read_password("--cluster-password-file", path)?);
    }
    if let Some(user) = sentinel_user {
        builder = builder.sentinel_user(user);
    }
    if let Some(path) = sentinel_password {
        builder = builder.sentinel_password(read_password("--cluster-sentinel-password-file", path)?);
    }
    if let Some(path) = ca {
        builder = read_certificates(builder, path)?;
    }
    Ok(Some(builder.build()?))
}

fn read_password(option: &'static str, path: &Path) -> Result<String, ConfigError> {
    String::from_utf8(secrets::read(option, path)?).map_err(|_| ConfigError::Unreadable {
        option,
        path: path.to_owned(),
        error: "not UTF-8".to_owned(),
    })
}

fn read_certificates(builder: RedisBackplaneBuilder, path: &Path) -> Result<RedisBackplaneBuilder, ConfigError> {
    let pem = std::fs::read(path).map_err(|error| ConfigError::Unreadable {
        option: "--cluster-ca-certificates",
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    Ok(builder.ca_certificates(pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_without_login_has_no_part_of_the_password() {
        for (url, expected) in [
            ("redis://localhost:1/2", "redis://localhost:1/2"),
            ("rediss://user:secret@a,b", "rediss://a,b"),
            ("redis://:se/cr@et@host/1", "redis://host/1"),
            ("user:secret@host", "host"),
            ("", ""),
        ] {
            assert_eq!(without_login(url), expected);
        }
    }
}
