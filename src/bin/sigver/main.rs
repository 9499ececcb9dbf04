//! The stand-alone signaling server, with the command line of npm's `sigver`.

mod admin;
mod args;
mod certificate;
mod config;
mod probe;
mod secrets;
mod server;
mod settings;
mod signals;
mod tls;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};
use config::Config;

fn main() -> ExitCode {
    let args = Args::read();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let well = match &args.command {
        Some(Command::Probe(options)) => run_probe(options),
        None => run(args).map(|()| true),
    };
    match well {
        Ok(true) => ExitCode::SUCCESS,
        // It has said why.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sigver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let Args { print_config, check_config, .. } = args;
    let settings = args.settings()?;
    if print_config {
        return Ok(io::stdout().write_all(config::print(settings)?.as_bytes())?);
    }
    let config = Config::check(settings)?;
    if check_config {
        return Ok(writeln!(io::stdout(), "The configuration is sound")?);
    }
    let runtime = runtime()?;
    let served = runtime.block_on(server::run(config));
    // A certificate on a disk that does not answer would be waited for.
    runtime.shutdown_background();
    Ok(served?)
}

fn run_probe(options: &probe::Options) -> Result<bool, Box<dyn Error>> {
    let runtime = runtime()?;
    let well = runtime.block_on(probe::run(options));
    // A name that is still being resolved would be waited for.
    runtime.shutdown_background();
    Ok(well?)
}

fn runtime() -> Result<Runtime, server::Error> {
    Runtime::new().map_err(server::Error::Runtime)
}
