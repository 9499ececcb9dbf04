//! A server in a process of its own, and what the system says of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::client::{Speaks, Target};
use crate::server::{Kind, Settings};

/// Clock ticks in a second, in which Linux counts a process's time.
const TICKS: f64 = 100.0;

/// Killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) target: Target,
    /// The last line that it said.
    said: watch::Receiver<String>,
}

impl Server {
    /// One of this program's own.
    pub(crate) async fn start(kind: Kind, settings: &Settings) -> Self {
        let mut command = Command::new(this_program());
        command.arg("serve").arg(clap::ValueEnum::to_possible_value(&kind).expect("it has a name").get_name());
        command.args(settings.args());
        Self::spawn(command, "/signal", kind.speaks()).await
    }

    /// npm's `sigver`, run by Node.js.
    pub(crate) async fn reference(script: &Path) -> Self {
        // It does not say which free port it took, so one is drawn for it.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let mut command = Command::new("node");
        command.arg(script).args(["-h", "127.0.0.1", "-p", &port.expect("a free port").port().to_string()]);
        Self::spawn(command, "", Speaks::Sigver).await
    }

    async fn spawn(mut command: Command, mount: &str, speaks: Speaks) -> Self {
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the server starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("it can be read").expect("it says where it listens");
            if let Some((_, address)) = line.rsplit_once("listening on ") {
                break address.trim().parse().expect("HOST:PORT");
            }
        };
        // What else it says does not hold it up.
        let (saying, said) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                saying.send_replace(line);
            }
        });
        Self { process, target: Target { address, mount: mount.to_owned(), speaks }, said }
    }

    /// What its hub counts, at most a second ago, by name; none unless it was told to say so.
    pub(crate) fn stats(&self) -> BTreeMap<String, u64> {
        let line = self.said.borrow();
        let pairs = line.strip_prefix("stats ").unwrap_or_default().split(' ').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, count)| (name.to_owned(), count.parse().expect("a number"))).collect()
    }

    fn proc(&self, file: &str) -> String {
        let pid = self.process.id().expect("it runs");
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("Linux")
    }

    /// How long it has kept a core busy, to 10 ms.
    pub(crate) fn busy(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field is the name, in parentheses; user and system time are the 14th and the 15th.
        let fields = stat.rsplit_once(')').expect("Linux").1.split_whitespace().skip(11).take(2);
        let ticks: f64 = fields.map(|ticks| ticks.parse::<f64>().expect("a number of ticks")).sum();
        Duration::from_secs_f64(ticks / TICKS)
    }

    /// In KiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
    }
}

/// To be started again, as another part of it.
pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}
