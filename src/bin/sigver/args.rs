//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{self, ConfigError};
use crate::settings::Settings;
use crate::{probe, secrets};

/// Signaling server for WebRTC, speaking the protocol of npm's sigver: ws://HOST:PORT/KEY.
#[derive(Debug, Parser)]
// `-h` is the host, as with npm's sigver.
#[command(version, disable_help_flag = true)]
// A probe has nothing to do with the options of a server.
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Read what is set by neither a flag nor a variable from this file (TOML)
    #[arg(long, env = "SIGVER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print all settings as such a file, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Check all settings and the files that they name, and exit
    #[arg(long, conflicts_with = "print_config")]
    pub(crate) check_config: bool,
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
    /// Reads the command line; where it cannot be read, or asks for help only, that is said and the process exits.
    pub(crate) fn read() -> Self {
        let matches = Settings::complete(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// What is set: by a flag, or else in the environment, or else in the file.
    pub(crate) fn settings(self) -> Result<Settings, ConfigError> {
        let Some(path) = &self.config else { return Ok(self.settings) };
        let mut file = config::read(path)?;
        if secrets::in_environment() {
            file.signed_keys_secret_files = None;
        }
        Ok(self.settings.or(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Settings::complete(Args::command()).debug_assert();
    }
}
