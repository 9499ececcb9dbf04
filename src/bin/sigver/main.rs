//! The stand-alone signaling server, with the command line of npm's `sigver`.

mod args;
mod server;
mod tls;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
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
