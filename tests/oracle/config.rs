//! The standalone server parses a configuration file or reports the position of an error, and prints what it can parse.

use sigver::cluster::MemoryBackplane;
use sigver::{ClusterConfig, SignalingHub};

#[path = "../../src/bin/sigver/settings/mod.rs"]
#[expect(dead_code, reason = "only the server uses the command line")]
pub(crate) mod settings;

use settings::Settings;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match settings::parse(text) {
        Ok(settings) => accepted(settings),
        Err(error) => assert!(error.span().is_some(), "{error} has no position"),
    }
}

fn accepted(settings: Settings) {
    let settings = settings.or(Settings::defaults());
    let printed = toml::to_string(&settings).expect("parsed settings can be printed");
    let again = settings::parse(&printed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(printed, toml::to_string(&again).expect("parsed settings can be printed"));

    let mut builder = settings.apply_limits(SignalingHub::builder());
    let cluster = settings.apply_cluster_limits(ClusterConfig::new(MemoryBackplane::new()));
    let Settings { allowed_origins, allow_missing_origin, trusted_proxies, client_ip_header, .. } = settings;
    if let Some(origins) = allowed_origins {
        builder = builder.allowed_origins(origins).allow_missing_origin(allow_missing_origin.unwrap_or(false));
    }
    if let Some(header) = client_ip_header {
        builder = builder.trusted_proxies(header.into(), trusted_proxies.unwrap_or_default());
    }
    if let Err(error) = builder.build_cluster(cluster) {
        let [name, name_in_cluster] = [error.field().to_owned(), format!("cluster_{}", error.field())];
        let is_known = Settings::NAMES.iter().any(|known| *known == name || *known == name_in_cluster);
        assert!(is_known, "{error} does not name a setting");
    }
}
