//! Why the server cannot run with its settings.

use std::path::PathBuf;

use sigver::cluster::RedisConfigError;

use crate::settings::Time;
use crate::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {option} {}: {error}", path.display())]
    Unreadable { option: &'static str, path: PathBuf, error: String },
    // The TOML error has several lines and ends with a blank one.
    #[error("{}: {}", path.display(), error.to_string().trim_end())]
    File { path: PathBuf, error: toml::de::Error },
    /// TOML cannot represent a path that is not UTF-8.
    #[error("cannot print the settings: {0}")]
    Unprintable(#[from] toml::ser::Error),
    #[error("{given} is set; requires {missing}")]
    Requires { given: &'static str, missing: &'static str },
    #[error("{setting} has {count} files; must have 1, or 2 while one secret replaces the other")]
    SecretCount { setting: &'static str, count: usize },
    #[error("cannot use the secret in {origin}: {error}")]
    Secret { origin: String, error: sigver::ConfigError },
    #[error("drain_timeout is {0}; must be at most 1day")]
    DrainTimeout(Time),
    #[error("host is {0}; must be unix:/PATH with an absolute path")]
    RelativeSocket(String),
    #[error("host is {0}; must be an IP address or a host name, because this system has no Unix sockets")]
    NoUnixSockets(String),
    #[error("cluster.{0}")]
    Backplane(#[from] RedisConfigError),
    #[error("cluster.{0}")]
    Cluster(sigver::ConfigError),
    #[error(transparent)]
    Hub(#[from] sigver::ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}
