//! The engine of a cluster: `redis-server` in its own process.

use std::net::TcpListener;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const PROGRAM: &str = "redis-server";

/// A running engine without files. Killed on drop.
pub(super) struct Engine {
    process: Child,
    pub(super) url: String,
}

impl Engine {
    /// Starts an engine on a free port.
    pub(super) async fn start() -> Self {
        for _ in 0..20 {
            // It does not print a port that the system selected. Another process may take the port meanwhile.
            let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            let port = port.expect("a port is free").port();
            if let Some(process) = start(port).await {
                return Self { process, url: format!("redis://127.0.0.1:{port}") };
            }
        }
        panic!("{PROGRAM} does not start on 20 ports");
    }

    pub(super) fn process(&self) -> &Child {
        &self.process
    }
}

/// Returns `None` if the engine ends instead of becoming ready.
async fn start(port: u16) -> Option<Child> {
    let mut command = Command::new(PROGRAM);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("`version` has started it");
    let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
    while !lines.next_line().await.expect("stdout is readable")?.contains("Ready to accept connections") {}
    // Keeps reading, so that a full pipe does not block the engine.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(process)
}

/// Returns what the engine prints as its version.
///
/// # Errors
/// Returns a text for the user if the engine cannot be started.
pub(super) async fn version() -> Result<String, String> {
    match Command::new(PROGRAM).arg("--version").output().await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => Err(format!("{PROGRAM} does not start: {error}; on Debian: apt-get install -y redis-server")),
    }
}
