//! The standalone signaling server, with the command line of npm's `sigver`.

mod certificate;
mod cli;
mod config;
mod descriptors;
mod probe;
mod server;
mod settings;
mod signals;
mod tls;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use config::Config;
use descriptors::Descriptors;

fn main() -> ExitCode {
    let cli = Cli::read();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let result = match &cli.command {
        Some(Command::Probe(options)) => run_probe(options),
        None => run_server(cli).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("sigver: {error}");
        ExitCode::FAILURE
    })
}

fn run_server(cli: Cli) -> Result<(), Box<dyn Error>> {
    let Cli { print_config, check_config, .. } = cli;
    let settings = cli.settings()?;
    if print_config {
        return Ok(io::stdout().write_all(config::print(settings)?.as_bytes())?);
    }
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
