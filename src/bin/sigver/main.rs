//! The standalone signaling server, with the command line of npm's `sigver`.

mod certificate;
mod cli;
mod config;
mod descriptors;
mod log;
mod polled;
mod probe;
mod server;
mod service_manager;
mod settings;
mod signals;
mod tls;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::runtime::Runtime;

use cli::{Cli, Command};
use config::Config;
use descriptors::Descriptors;
use settings::{LogFormat, Settings};

fn main() -> ExitCode {
    let cli = Cli::read();
    // Until the settings are known, and for the probe, whose log is for a terminal.
    let mut format = LogFormat::Text;
    let result = match &cli.command {
        Some(Command::Probe(options)) => {
            log::install(format);
            run_probe(options)
        }
        None => run_server(cli, &mut format).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        log::report(format, &error);
        ExitCode::FAILURE
    })
}

/// Runs the server, or prints or checks its settings. Sets the format of the log when it is installed.
fn run_server(cli: Cli, format: &mut LogFormat) -> Result<(), Box<dyn Error>> {
    let Cli { print_config, check_config, .. } = cli;
    let settings = cli.settings()?;
    if print_config {
        return Ok(io::stdout().write_all(config::print(settings)?.as_bytes())?);
    }
    *format = log_format(&settings);
    log::install(*format);
    let descriptors = Descriptors::raise();
    let config = Config::check(settings, descriptors)?;
    if check_config {
        return Ok(writeln!(io::stdout(), "The configuration is valid")?);
    }
    let runtime = runtime()?;
    let result = runtime.block_on(server::run(config, descriptors));
    // Dropping the runtime would wait for a certificate file on a disk that does not respond.
    runtime.shutdown_background();
    Ok(result?)
}

fn log_format(settings: &Settings) -> LogFormat {
    let default = || Settings::defaults().log_format.expect("the setting has a default");
    settings.log_format.unwrap_or_else(default)
}

fn run_probe(options: &probe::Options) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = runtime()?;
    let result = runtime.block_on(probe::run(options));
    // Dropping the runtime would wait for a DNS lookup that has not finished.
    runtime.shutdown_background();
    Ok(if result? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runtime() -> Result<Runtime, server::Error> {
    Runtime::new().map_err(server::Error::Runtime)
}
