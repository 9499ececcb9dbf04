//! The stand-alone server as a process.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

pub(crate) fn sigver(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigver"));
    command.args(args).env("NO_COLOR", "1").kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a server that ends by itself.
pub(crate) async fn run(args: &[&str]) -> Output {
    tokio::time::timeout(Duration::from_secs(60), sigver(args).output()).await.expect("it ends").expect("it starts")
}

/// Starts a server and returns it with the line that it says.
pub(crate) async fn start(command: &mut Command) -> (Child, String) {
    let mut process = command.spawn().expect("it starts");
    let output = process.stdout.take().expect("its output is piped");
    let line = BufReader::new(output).lines().next_line().await.expect("it can be read").expect("it says a line");
    (process, line)
}

pub(crate) fn address(line: &str) -> &str {
    line.strip_prefix("Signaling server is listening on ").expect("it says where it listens")
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a folder with a plain name")
}
