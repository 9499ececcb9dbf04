//! What an operator can set: each a flag, a variable and a key of the file, of one name.

// `tests/rules/config.rs` takes in this folder by itself, so it names nothing of the rest of the server.

mod file;
mod limits;
mod units;

use std::path::PathBuf;

use clap::{Args as _, Command, ValueEnum};
use serde::{Deserialize, Serialize};
use sigver::ClientIpHeader;

pub(crate) use file::parse;
pub(crate) use limits::Limits;
pub(crate) use units::Time;

/// What somebody has set; the rest is `None`.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
pub(crate) struct Settings {
    /// Select host address to bind to
    #[arg(short = 'h', long, value_name = "IP")]
    pub(crate) host: Option<String>,
    /// Select port to use, 0 for any that is free
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) port: Option<u16>,
    /// Private key for the certificate (PEM)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The server certificate (PEM); with it and its key the server speaks TLS only
    #[arg(short, long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// The additional intermediate certificate or certificates that web browsers will need in order to validate the
    /// server certificate (PEM)
    #[arg(short = 'a', long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// How long SIGTERM takes to close all peers, one after the other
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_timeout: Option<Time>,
    /// Also serve metrics, health and a page for the operator there, without TLS or login: keep it to yourself
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) admin: Option<String>,

    /// Let in pages of this origin only: https://HOST, or https://*.HOST for all names below; may be repeated
    #[arg(long = "allowed-origin", value_name = "ORIGIN", value_delimiter = ',', help_heading = GUARDS)]
    pub(crate) allowed_origins: Option<Vec<String>>,
    /// Beside pages of those origins, let in requests without an Origin
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = GUARDS,
    )]
    pub(crate) allow_missing_origin: Option<bool>,
    /// Believe this proxy, or network of proxies, where a peer comes from; may be repeated
    #[arg(long = "trusted-proxy", value_name = "NET", value_delimiter = ',', help_heading = GUARDS)]
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// The header in which the trusted proxies say it
    #[arg(long, value_name = "HEADER", help_heading = GUARDS)]
    pub(crate) client_ip_header: Option<Header>,
    /// Let in signed keys only, by the secret in this file, or by that in SIGVER_SIGNED_KEYS_SECRET; may be repeated
    /// once, for a secret that is taken too
    #[arg(long = "signed-keys-secret-file", value_name = "FILE", value_delimiter = ',', help_heading = GUARDS)]
    pub(crate) signed_keys_secret_files: Option<Vec<PathBuf>>,

    #[command(flatten)]
    // The file is read for each part by itself: a flattened part would not know its lines.
    #[serde(flatten, skip_deserializing)]
    pub(crate) limits: Limits,
}

const GUARDS: &str = "Who may come in";

/// [`ClientIpHeader`], with its name.
#[derive(Clone, Copy, Debug, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Header {
    XForwardedFor,
    Forwarded,
}

impl Settings {
    /// What holds where nothing is set.
    pub(crate) fn defaults() -> Self {
        Self {
            host: Some("0.0.0.0".to_owned()),
            port: Some(8000),
            drain_timeout: Some(Time::seconds(5)),
            limits: Limits::defaults(),
            ..Self::default()
        }
    }

    /// These, and the others' where there is none.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            host: self.host.or(others.host),
            port: self.port.or(others.port),
            key: self.key.or(others.key),
            cert: self.cert.or(others.cert),
            ca: self.ca.or(others.ca),
            drain_timeout: self.drain_timeout.or(others.drain_timeout),
            admin: self.admin.or(others.admin),
            allowed_origins: self.allowed_origins.or(others.allowed_origins),
            allow_missing_origin: self.allow_missing_origin.or(others.allow_missing_origin),
            trusted_proxies: self.trusted_proxies.or(others.trusted_proxies),
            client_ip_header: self.client_ip_header.or(others.client_ip_header),
            signed_keys_secret_files: self.signed_keys_secret_files.or(others.signed_keys_secret_files),
            limits: self.limits.or(others.limits),
        }
    }

    /// The names of all, as the file has them.
    pub(crate) fn names() -> Vec<String> {
        let command = Self::augment_args(Command::new("names"));
        command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
    }

    /// Gives each flag its variable, and tells in its help what holds without it.
    pub(crate) fn complete(command: Command) -> Command {
        let defaults = toml::Table::try_from(Self::defaults()).expect("all defaults have a form in TOML");
        Self::names().into_iter().fold(command, |command, name| {
            let default = defaults.get(&name).map(|value| match value {
                toml::Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            command.mut_arg(&name, |arg| {
                let arg = arg.env(format!("SIGVER_{}", name.to_uppercase()));
                match (arg.get_help(), default) {
                    (Some(help), Some(default)) => {
                        let help = format!("{help} [default: {default}]");
                        arg.help(help)
                    }
                    _ => arg,
                }
            })
        })
    }
}

impl From<Header> for ClientIpHeader {
    fn from(header: Header) -> Self {
        match header {
            Header::XForwardedFor => Self::XForwardedFor,
            Header::Forwarded => Self::Forwarded,
        }
    }
}
