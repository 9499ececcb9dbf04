//! The standalone server as a process.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Arguments of a server that listens on a free port.
pub(crate) const FREE_PORT: [&str; 4] = ["-h", "127.0.0.1", "-p", "0"];

pub(crate) fn sigver(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigver"));
    command.args(args).env("NO_COLOR", "1").kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary until it exits.
pub(crate) async fn run(args: &[&str]) -> Output {
    timeout(Duration::from_secs(100), sigver(args).output()).await.expect("it exits in time").expect("it starts")
}

/// Starts a server on a free port with further arguments. Returns it with its address.
pub(crate) async fn start(args: &[&str]) -> (Child, String) {
    spawn(sigver(&FREE_PORT).args(args)).await
}

/// Starts a server and returns it with its address.
pub(crate) async fn spawn(command: &mut Command) -> (Child, String) {
    let mut process = command.spawn().expect("it starts");
    let stdout = process.stdout.take().expect("stdout is piped");
    let line = BufReader::new(stdout).lines().next_line().await.expect("stdout is readable").expect("it prints a line");
    let address = line.strip_prefix("Signaling server is listening on ").expect("it prints its address");
    (process, address.to_owned())
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the folder is writable");
    path
}

pub(crate) fn utf8(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}
