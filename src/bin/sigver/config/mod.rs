//! The configuration that the server runs with: checked settings, the hub built from them, and the files loaded.

mod cluster;
mod error;
mod ice_servers;
mod listen_address;
mod secrets;
mod turn_secrets;

use std::path::Path;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sigver::hyper::ConnectionLimiter;
use sigver::{ClusterDriver, HubBuilder, SignalingHub};

use crate::certificate::Certificate;
use crate::descriptors::{Descriptors, LoweredLimits};
use crate::settings::{self, Settings, Time};
use crate::tls::TlsFiles;

pub(crate) use error::ConfigError;
pub(crate) use listen_address::{ListenAddress, UNIX_CLIENT};
pub(crate) use turn_secrets::TurnSecrets;

use ice_servers::IceSettings;

/// A longer drain is a configuration mistake.
const MAX_DRAIN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Config {
    pub(crate) address: ListenAddress,
    /// Whether the address of a connection, or the header of a proxy, tells the client IP.
    pub(crate) has_client_ips: bool,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) turn_secrets: Option<TurnSecrets>,
    pub(crate) drain_timeout: Duration,
    pub(crate) lowered_limits: Option<LoweredLimits>,
    /// The limits of connections that have not completed the WebSocket handshake.
    pub(crate) handshakes: ConnectionLimiter,
    pub(crate) hub: SignalingHub,
    /// Connects the hub to the other servers of its cluster.
    pub(crate) cluster: Option<ClusterDriver>,
    pub(crate) admin: Option<AdminConfig>,
}

/// The address of the admin listener, and the metrics that it serves.
pub(crate) struct AdminConfig {
    pub(crate) address: String,
    pub(crate) metrics: PrometheusHandle,
}

impl Config {
    /// Builds the hub and reads every file that the settings name, so that each mistake in them is an error here.
    pub(crate) fn check(settings: Settings, descriptors: Descriptors) -> Result<Self, ConfigError> {
        let mut settings = settings.or(Settings::defaults());
        let lowered_limits = descriptors.lower_limits(&mut settings);
        let host = settings.host.clone().expect("the setting has a default");
        let address = ListenAddress::parse(host, settings.port.expect("the setting has a default"))?;
        let has_client_ips = !address.is_unix() || settings.client_ip_header.is_some();
        let mut builder = settings.apply_limits(access_control(&settings, &address, SignalingHub::builder())?);
        let ice = IceSettings::new(&settings);
        let turn_secrets = ice.read_secrets()?;
        if let Some(servers) = ice.servers(&turn_secrets)? {
            builder = builder.ice_servers(servers);
        }
        // The hub takes its counters from the recorder, so the recorder comes first.
        let admin = settings.admin.clone().map(|address| AdminConfig { address, metrics: record_metrics() });
        let (hub, cluster) = cluster::build(&settings, builder)?;
        let handshakes = handshakes(&settings, &address, descriptors)?;
        let Time(drain_timeout) = settings.drain_timeout.expect("the setting has a default");
        if drain_timeout > MAX_DRAIN_TIMEOUT {
            return Err(ConfigError::DrainTimeout(Time(drain_timeout)));
        }
        let files = TlsFiles::from_settings(settings.key, settings.cert, settings.ca)?;
        Ok(Self {
            address,
            has_client_ips,
            certificate: files.map(Certificate::load).transpose()?,
            turn_secrets: TurnSecrets::in_files(ice, turn_secrets, hub.clone()),
            drain_timeout,
            lowered_limits,
            handshakes,
            hub,
            cluster,
            admin,
        })
    }
}

/// Reads the settings of a file, without its files of secrets if the environment has secrets.
pub(crate) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        option: "--config",
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    let mut settings = settings::parse(&text).map_err(|error| ConfigError::File { path: path.to_owned(), error })?;
    if secrets::SIGNED_KEYS.are_in_environment() {
        settings.signed_keys_secret_files = None;
    }
    if secrets::TURN.are_in_environment() {
        settings.turn_secret_files = None;
    }
    Ok(settings)
}

/// Returns all settings in the format of the file, without secrets.
pub(crate) fn print(settings: Settings) -> Result<String, ConfigError> {
    let mut settings = settings.or(Settings::defaults());
    let mut comments = String::new();
    if settings.signed_keys_secret_files.is_none() && secrets::SIGNED_KEYS.are_in_environment() {
        comments += "# The secrets of signed keys are in the environment.\n";
    }
    if settings.turn_secret_files.is_none() && secrets::TURN.are_in_environment() {
        comments += "# The secrets of TURN servers are in the environment.\n";
    }
    if let Some(url) = &mut settings.cluster_url {
        let printed = cluster::without_login(url);
        if *url != printed {
            comments += "# The URL of the cluster has a user or a password, which is not printed.\n";
        }
        *url = printed;
    }
    Ok(comments + &toml::to_string(&settings)?)
}

fn access_control(
    settings: &Settings,
    address: &ListenAddress,
    mut builder: HubBuilder,
) -> Result<HubBuilder, ConfigError> {
    if let Some(origins) = &settings.allowed_origins {
        builder = builder.allowed_origins(origins);
    }
    // The hub requires allowed origins for `false` too. A file may contain it without them.
    if settings.allow_missing_origin == Some(true) {
        builder = builder.allow_missing_origin(true);
    }
    let requires = |given, missing| Err(ConfigError::Requires { given, missing });
    match (settings.trusted_proxies.as_deref().unwrap_or_default(), settings.client_ip_header) {
        ([], None) => {}
        ([], Some(_)) if !address.is_unix() => return requires("client_ip_header", "trusted_proxies"),
        (_, None) => return requires("trusted_proxies", "client_ip_header: x-forwarded-for or forwarded"),
        (proxies, Some(header)) => {
            // The permissions of a Unix socket decide who may connect, so the process at its other end is trusted.
            let unix = address.is_unix().then(|| UNIX_CLIENT.to_string());
            let proxies: Vec<_> = proxies.iter().cloned().chain(unix).collect();
            builder = builder.trusted_proxies(header.into(), &proxies);
        }
    }
    Ok(match secrets::signed_keys(settings.signed_keys_secret_files.as_deref())? {
        Some(keys) => builder.admission(keys),
        None => builder,
    })
}

/// Returns the limits of handshakes. The server has its own timeouts.
fn handshakes(
    settings: &Settings,
    address: &ListenAddress,
    descriptors: Descriptors,
) -> Result<ConnectionLimiter, sigver::ConfigError> {
    let unix = address.is_unix().then(|| UNIX_CLIENT.to_string());
    let trusted_proxies = settings.trusted_proxies.iter().flatten().chain(&unix);
    ConnectionLimiter::builder()
        .max_handshakes(settings.max_handshakes.unwrap_or(descriptors.default_max_handshakes()))
        .max_handshakes_per_ip(settings.max_handshakes_per_ip.expect("the setting has a default"))
        .trusted_proxies(trusted_proxies)
        .idle_timeout(Duration::MAX)
        .build()
}

/// Installs the recorder of this process, which the admin listener reads.
fn record_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("the process installs one recorder");
    handle
}
