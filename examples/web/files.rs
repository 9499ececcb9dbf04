//! The files of the demo page: the page, and the modules of the npm package `sigver-client`, which it imports.

/// The page, for `/`.
pub(crate) const PAGE: &str = include_str!("index.html");

/// Embeds files of `clients/js/src`.
macro_rules! modules {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../clients/js/src/", $name)))),*]
    };
}

/// The name and the text of each module, for `/sigver-client/NAME`. `tests/demo_files.rs` fails if one is missing.
pub(crate) const MODULES: &[(&str, &str)] = modules! {
    "channels.js"
    "close_codes.js"
    "connection.js"
    "control_channel.js"
    "data_channel.js"
    "departures.js"
    "discovery.js"
    "events.js"
    "framing.js"
    "group.js"
    "ice_servers.js"
    "identities.js"
    "index.js"
    "interruption.js"
    "joining.js"
    "limits.js"
    "local_streams.js"
    "media.js"
    "membership.js"
    "mesh.js"
    "metadata.js"
    "named_channels.js"
    "negotiation.js"
    "path.js"
    "peer.js"
    "pending_peers.js"
    "rtc_settings.js"
    "signaling.js"
    "timing.js"
    "untrusted.js"
    "wire.js"
};

/// Returns the text of a module.
pub(crate) fn module(name: &str) -> Option<&'static str> {
    MODULES.iter().find(|(it, _)| *it == name).map(|(_, text)| *text)
}
