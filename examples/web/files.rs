//! The files of the demo page: the page, and the modules of the npm package `sigver-client`, which it imports.

/// Embeds files of a folder. `tests/demo_files.rs` fails if one is missing.
macro_rules! embed {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!($folder, $name)))),*]
    };
}

/// The name and the text of each file of the page, for `/NAME`.
pub(crate) const PAGE: &[(&str, &str)] = embed! { "":
    "app.js"
    "chat.js"
    "demo.css"
    "dom.js"
    "index.html"
    "invite.js"
    "media.js"
    "mesh_view.js"
    "names.js"
    "peer_list.js"
    "status.js"
    "texts.js"
    "views.css"
};

/// The name and the text of each module of the client, for `/sigver-client/NAME`.
pub(crate) const MODULES: &[(&str, &str)] = embed! { "../../clients/js/src/":
    "channels.js"
    "close_codes.js"
    "connection.js"
    "control_channel.js"
    "data_channel.js"
    "departures.js"
    "discovery.js"
    "early_messages.js"
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
    "options.js"
    "path.js"
    "peer.js"
    "pending_peers.js"
    "rtc_settings.js"
    "signaling.js"
    "timing.js"
    "untrusted.js"
    "wire.js"
};

/// Returns the content type and the text of a file. `/` is the page.
pub(crate) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let path = if path == "/" { "/index.html" } else { path };
    let (files, name) = match path.strip_prefix("/sigver-client/") {
        Some(name) => (MODULES, name),
        None => (PAGE, path.strip_prefix('/')?),
    };
    let (_, text) = files.iter().find(|(it, _)| *it == name)?;
    let content_type = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/html; charset=utf-8",
    };
    Some((content_type, text))
}
