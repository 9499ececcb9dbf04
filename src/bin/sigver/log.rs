//! The log of the process on stderr.

use std::fmt::Display;
use std::io;

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// Installs the log. `RUST_LOG` filters it, by default to the level `info`.
pub(crate) fn install(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => log.init(),
        // A peer has one span, so the list of all spans would only repeat it.
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}

/// Reports why the process ends with an error: as a line of the log if that is JSON, so that every line can be parsed.
pub(crate) fn report(format: LogFormat, error: &dyn Display) {
    if format == LogFormat::Json && tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(%error, "exited");
    } else {
        eprintln!("sigver: {error}");
    }
}
