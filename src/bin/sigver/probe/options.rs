//! The command line of the probe.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use hyper::header::HeaderValue;

use super::header::Header;
use super::target::Target;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// URL of the hub, ws:// or wss://. If the path ends with a slash, the probe appends a random key; it also replaces
    /// {key} with one. Any other URL is used as it is, with the key that it contains
    #[arg(value_name = "URL")]
    pub(super) url: Target,
    /// URL of a second server. The probe checks whether peers of both URLs meet, that is whether both belong to one hub
    #[arg(value_name = "URL2")]
    pub(super) second_url: Option<Target>,
    /// Timeout of each step
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Time for which two connections stay idle apart from heartbeats, 0 to skip this check
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(super) idle: u64,
    /// Origin header to send, as a browser does on a page of that origin: https://HOST
    #[arg(long, value_name = "ORIGIN")]
    pub(super) origin: Option<HeaderValue>,
    /// Header to send with each handshake, for example a token, or an X-Forwarded-For to test. Can be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<Header>,
    /// Skip the checks that take longer than some round trips or that make the hub close a peer: heartbeats, idle
    /// connections and rejections. For health checks
    #[arg(long, conflicts_with = "idle")]
    pub(super) quick: bool,
    /// Print one JSON object in place of a line for each check
    #[arg(long)]
    pub(super) json: bool,
    /// Trust the CA certificates in this file too (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: (),
}

impl Options {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
