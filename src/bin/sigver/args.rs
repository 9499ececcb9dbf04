//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand};

use crate::probe;
use crate::tls::{Files, TlsError};

/// Signaling server for WebRTC, speaking the protocol of npm's sigver: ws://HOST:PORT/KEY.
#[derive(Debug, Parser)]
// `-h` is the host, as with npm's sigver.
#[command(version, disable_help_flag = true)]
// A probe has nothing to do with the options of a server.
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// Select host address to bind to
    #[arg(short = 'h', long, env = "SIGVER_HOST", value_name = "IP", default_value = "0.0.0.0")]
    pub(crate) host: String,
    /// Select port to use, 0 for any that is free
    #[arg(short, long, env = "SIGVER_PORT", value_name = "NUMBER", default_value_t = 8000)]
    pub(crate) port: u16,
    /// Private key for the certificate (PEM)
    #[arg(short, long, env = "SIGVER_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// The server certificate (PEM); with it and its key the server speaks TLS only
    #[arg(short, long, env = "SIGVER_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The additional intermediate certificate or certificates that web browsers will need in order to validate the
    /// server certificate (PEM)
    #[arg(short = 'a', long, env = "SIGVER_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: (),
    /// Without one, the server runs.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check from outside whether a server can be used, through all that is in between, and say what is wrong
    Probe(probe::Options),
}

impl Args {
    /// The files for TLS, if any is given. Half of them is an error: a server that its operator takes for encrypted
    /// must not fall back to plain.
    pub(crate) fn tls(&self) -> Result<Option<Files<'_>>, TlsError> {
        match (&self.key, &self.cert, &self.ca) {
            (None, None, None) => Ok(None),
            (Some(key), Some(cert), ca) => Ok(Some(Files { key, cert, ca: ca.as_deref() })),
            (Some(_), None, _) => Err(TlsError::Half { given: "--key", missing: "--cert" }),
            (None, Some(_), _) => Err(TlsError::Half { given: "--cert", missing: "--key" }),
            (None, None, Some(_)) => Err(TlsError::Half { given: "--ca", missing: "--key and --cert" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
