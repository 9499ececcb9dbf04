//! What the server runs with: settings that have been checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sigver::{HubBuilder, SignalingHub};

use crate::admin::{self, Admin};
use crate::certificate::Certificate;
use crate::secrets;
use crate::settings::{self, Settings, Time};
use crate::tls::{Files, TlsError};

/// A drain that takes longer is a mistake of the unit.
const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Config {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) drain: Duration,
    pub(crate) hub: SignalingHub,
    pub(crate) admin: Option<(String, Admin)>,
}

impl Config {
    /// Reads every file that the settings name, and builds the hub: whatever is wrong with them is found here.
    pub(crate) fn check(settings: Settings) -> Result<Self, ConfigError> {
        let settings = settings.or(Settings::defaults());
        let builder = guards(&settings, SignalingHub::builder())?;
        // Before there is a hub, as it takes its counters from the recorder.
        let metrics = settings.admin.is_some().then(admin::record_metrics);
        let hub = settings.limits.apply(builder).build()?;
        let admin = settings.admin.zip(metrics).map(|(address, metrics)| {
            let admin = Admin::new(&address, hub.clone(), metrics);
            (address, admin)
        });
        let Time(drain) = settings.drain_timeout.expect("it has a default");
        if drain > LONGEST_DRAIN {
            return Err(ConfigError::Drain(Time(drain)));
        }
        let files = Files::given(settings.key, settings.cert, settings.ca)?;
        Ok(Self {
            host: settings.host.expect("it has a default"),
            port: settings.port.expect("it has a default"),
            certificate: files.map(Certificate::load).transpose()?,
            drain,
            hub,
            admin,
        })
    }
}

/// Reads the settings of a file.
pub(crate) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        what: "--config",
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    settings::parse(&text).map_err(|error| ConfigError::File { path: path.to_owned(), error })
}

/// All settings as a file that gives the same server, but for the secrets.
pub(crate) fn print(settings: Settings) -> Result<String, ConfigError> {
    let settings = settings.or(Settings::defaults());
    let secret = if settings.signed_keys_secret_files.is_none() && secrets::in_environment() {
        "# The secrets of signed keys are in the environment.\n"
    } else {
        ""
    };
    Ok(format!("{secret}{}", toml::to_string(&settings)?))
}

/// Who may come in.
fn guards(settings: &Settings, mut builder: HubBuilder) -> Result<HubBuilder, ConfigError> {
    let without = settings.allow_missing_origin.unwrap_or(false);
    match &settings.allowed_origins {
        Some(origins) if origins.is_empty() && !without => return Err(ConfigError::NoOrigins),
        Some(origins) => builder = builder.allowed_origins(origins).allow_missing_origin(without),
        None if without => {
            return Err(ConfigError::Half { given: "--allow-missing-origin", missing: "--allowed-origin" });
        }
        None => {}
    }
    match (settings.trusted_proxies.as_deref().unwrap_or_default(), settings.client_ip_header) {
        ([], None) => {}
        ([], Some(_)) => return Err(ConfigError::Half { given: "--client-ip-header", missing: "--trusted-proxy" }),
        (_, None) => return Err(ConfigError::NoProxyHeader),
        (proxies, Some(header)) => builder = builder.trusted_proxies(header.into(), proxies),
    }
    Ok(match secrets::signed_keys(settings.signed_keys_secret_files.as_deref())? {
        Some(keys) => builder.admission(keys),
        None => builder,
    })
}

/// Why the server cannot run with these settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {what} {}: {error}", path.display())]
    Unreadable { what: &'static str, path: PathBuf, error: String },
    // Of several lines, with a blank one at the end.
    #[error("{}: {}", path.display(), error.to_string().trim_end())]
    File { path: PathBuf, error: toml::de::Error },
    /// TOML has no path that is not UTF-8.
    #[error("the settings cannot be printed: {0}")]
    Unprintable(#[from] toml::ser::Error),
    #[error("{given} is given without {missing}")]
    Half { given: &'static str, missing: &'static str },
    #[error("allowed_origins is empty, so nobody could come in; without it pages of all origins can")]
    NoOrigins,
    #[error(
        "--trusted-proxy is given without --client-ip-header; it has to be x-forwarded-for or forwarded, the one that the \
        proxies write"
    )]
    NoProxyHeader,
    #[error("signed_keys_secret_files has {0} files; it has to be one, or two while one secret replaces the other")]
    SecretCount(usize),
    #[error("cannot use the secret in {origin}: {error}")]
    Secret { origin: String, error: sigver::ConfigError },
    #[error("drain_timeout is {0}; it has to be at most a day")]
    Drain(Time),
    #[error(transparent)]
    Limit(#[from] sigver::ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}
