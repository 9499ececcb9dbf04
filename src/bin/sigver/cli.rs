//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{self, ConfigError};
use crate::probe;
use crate::settings::{self, Settings};

/// WebRTC signaling server for sigver-client, sigver-mesh and Netflux: ws://HOST:PORT/KEY.
// Without `Debug`: the settings may have credentials.
#[derive(Parser)]
// `-h` is the host, as with npm's sigver.
#[command(version, disable_help_flag = true)]
// The server's options do not apply to a probe.
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// Read settings from this TOML file; flags and environment variables take precedence
    #[arg(long, env = "SIGVER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings in the format of that file, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Check all settings and the files that they name, and exit
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: (),
    /// Without a subcommand, the server runs.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check as a client whether a server is usable through every proxy in between, or whether two servers belong to one
    /// hub, and report what is wrong
    Probe(probe::Options),
}

impl Cli {
    /// Parses the command line. Exits the process after an error or a request for help.
    pub(crate) fn read() -> Self {
        let matches = settings::complete(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Returns the settings. A flag takes precedence over an environment variable, and a variable over the file.
    pub(crate) fn settings(self) -> Result<Settings, ConfigError> {
        match &self.config {
            Some(path) => Ok(self.settings.or(config::read(path)?)),
            None => Ok(self.settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        settings::complete(Cli::command()).debug_assert();
    }
}
