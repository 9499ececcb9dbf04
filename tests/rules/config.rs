//! The stand-alone server's configuration file is read or refused with a word, and what is printed is read back.

use sigver::SignalingHub;

#[path = "../../src/bin/sigver/settings/mod.rs"]
#[expect(dead_code, reason = "the command line is the server's own")]
pub(crate) mod settings;

use settings::Settings;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match settings::parse(text) {
        Ok(settings) => accepted(settings),
        Err(error) => assert!(error.span().is_some(), "{error} does not say where"),
    }
}

fn accepted(settings: Settings) {
    let settings = settings.or(Settings::defaults());
    let printed = toml::to_string(&settings).expect("what came from a file has a form in one");
    let again = settings::parse(&printed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(printed, toml::to_string(&again).expect("as before"));

    let Settings { limits, origins, allow_missing_origin, trusted_proxies, client_ip_header, .. } = settings;
    let mut builder = limits.apply(SignalingHub::builder());
    if let Some(origins) = origins {
        builder = builder.origins(origins).allow_missing_origin(allow_missing_origin.unwrap_or(false));
    }
    if let Some(header) = client_ip_header {
        builder = builder.trusted_proxies(header.into(), trusted_proxies.unwrap_or_default());
    }
    if let Err(error) = builder.build() {
        assert!(Settings::names().iter().any(|name| name == error.field()), "{error} names nothing that was set");
    }
}
