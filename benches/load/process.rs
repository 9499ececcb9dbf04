//! A server in its own process, and the figures that the system reports for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

use crate::client::{Protocol, Target};
use crate::server::{Kind, Settings};
use crate::sources::Sources;

/// Clock ticks per second, the unit of Linux's process times.
const TICKS: f64 = 100.0;

/// A running server. Killed on drop.
pub(crate) struct Server {
    process: Child,
    pub(crate) target: Target,
    /// The address of the standalone server's admin page.
    pub(crate) admin: Option<SocketAddr>,
    last_line: watch::Receiver<String>,
}

impl Server {
    /// Starts a server of this program.
    pub(crate) async fn start(kind: Kind, settings: &Settings) -> Self {
        let mut command = Command::new(this_program());
        let name = clap::ValueEnum::to_possible_value(&kind).expect("no variant is skipped");
        command.arg("serve").arg(name.get_name()).args(settings.args());
        Self::spawn(command, "/signal", kind.protocol(), false).await
    }

    /// Starts the standalone server with an admin page and this soft limit of file descriptors.
    pub(crate) async fn standalone(descriptors: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -S -n \"$0\" && exec \"$@\"", &descriptors.to_string()]);
        command.arg(env!("CARGO_BIN_EXE_sigver"));
        command.args(["--host", "127.0.0.1", "--port", "0", "--admin", "127.0.0.1:0"]).env("RUST_LOG", "error");
        Self::spawn(command, "", Protocol::Sigver, true).await
    }

    /// Starts npm's `sigver` with Node.js.
    pub(crate) async fn reference(script: &Path) -> Self {
        // It does not print a port that the system selected, so this process selects one.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let mut command = Command::new("node");
        command.arg(script).args(["-h", "127.0.0.1", "-p", &port.expect("a port is free").port().to_string()]);
        Self::spawn(command, "", Protocol::Sigver, false).await
    }

    async fn spawn(mut command: Command, mount: &str, protocol: Protocol, has_admin: bool) -> Self {
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the server starts");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let address = next_address(&mut lines).await;
        let admin = if has_admin { Some(next_address(&mut lines).await) } else { None };
        // Keeps reading, so that a full pipe does not block the server.
        let (sender, last_line) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_replace(line);
            }
        });
        let target = Target { address, mount: mount.to_owned(), protocol, sources: Sources::WELL_BEHAVED };
        Self { process, target, admin, last_line }
    }

    /// Returns the hub's counts by name, at most one second old. Empty unless [`Settings::stats`] is set.
    ///
    /// Parses the line that [`crate::server`] prints: `stats NAME=COUNT NAME=COUNT`.
    pub(crate) fn stats(&self) -> BTreeMap<String, u64> {
        let line = self.last_line.borrow();
        let pairs = line.strip_prefix("stats ").unwrap_or_default().split(' ').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, count)| (name.to_owned(), count.parse().expect("the count is a number"))).collect()
    }

    /// Returns the process of the server.
    pub(crate) fn process(&self) -> &Child {
        &self.process
    }

    /// Kills the server without a warning.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.expect("the server runs");
    }

    /// Returns the CPU time that the server has used, to 10 ms.
    pub(crate) fn cpu_time(&self) -> Duration {
        cpu_time(&self.process)
    }

    /// Returns the resident memory, in KiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = proc(&self.process, "status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the process has memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("the field is a number")
    }
}

/// Measures the CPU times of processes from its creation on.
pub(crate) struct CpuMeter<'a> {
    processes: &'a [&'a Child],
    before: Vec<Duration>,
}

impl<'a> CpuMeter<'a> {
    pub(crate) fn start(processes: &'a [&'a Child]) -> Self {
        Self { processes, before: processes.iter().map(|process| cpu_time(process)).collect() }
    }

    /// Returns the CPU time that each process has used for each of `count` operations.
    pub(crate) fn per(&self, count: u64) -> Vec<Duration> {
        let spans = self.processes.iter().zip(&self.before);
        spans.map(|(process, before)| (cpu_time(process) - *before).div_f64(count.max(1) as f64)).collect()
    }
}

/// Returns the CPU time that a process has used, to 10 ms.
fn cpu_time(process: &Child) -> Duration {
    let stat = proc(process, "stat");
    // The second field is the name, in parentheses. User and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').expect("the second field is in parentheses");
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = times.map(|ticks| ticks.parse::<f64>().expect("the field is a number")).sum();
    Duration::from_secs_f64(ticks / TICKS)
}

fn proc(process: &Child, file: &str) -> String {
    let pid = process.id().expect("the process runs");
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the system is Linux")
}

/// Returns the next address that a server prints.
async fn next_address(lines: &mut Lines<BufReader<ChildStdout>>) -> SocketAddr {
    loop {
        let line = lines.next_line().await.expect("stdout is readable").expect("the server prints its address");
        if let Some((_, address)) = line.rsplit_once("listening on ") {
            return address.trim().parse().expect("the address is HOST:PORT");
        }
    }
}

/// Returns the path of this program, to run it as another process.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().expect("the program has a path")
}
