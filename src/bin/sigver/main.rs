//! The stand-alone signaling server, with the command line of npm's `sigver`.

mod args;
mod probe;
mod server;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
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

fn run(args: Args) -> Result<(), server::Error> {
    let tls = args.tls()?.map(|files| files.load()).transpose()?;
    let runtime = tokio::runtime::Runtime::new().map_err(server::Error::Runtime)?;
    runtime.block_on(server::run(&args.host, args.port, tls))
}

fn run_probe(options: &probe::Options) -> Result<bool, server::Error> {
    let runtime = tokio::runtime::Runtime::new().map_err(server::Error::Runtime)?;
    let well = runtime.block_on(probe::run(options));
    // A name that is still being resolved would be waited for.
    runtime.shutdown_background();
    Ok(well?)
}
