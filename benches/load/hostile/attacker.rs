//! The process of the attackers. It has a low priority, because real attackers use other machines.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::attacks::mix::Attack;
use crate::attacks::{NamedAttack, Options, READY, Report};
use crate::process::{Server, this_program};

/// The process of an attack with a name. Killed on drop.
pub(super) struct Attacker {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Attacker {
    /// Starts an attack, and waits until its attackers are in place.
    pub(super) async fn start(server: &Server, attack: NamedAttack, options: &Options, time: Duration) -> Self {
        let mut command = command(server, "named-attack", time);
        let mut process = command.arg(attack.name()).args(options.args()).spawn().expect("the process starts");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        let line = lines.next_line().await.expect("stdout is readable");
        assert_eq!(line.as_deref(), Some(READY), "the attack does not start");
        Self { process, lines }
    }

    /// Waits for the end of the attack.
    pub(super) async fn report(mut self) -> Report {
        let line = self.lines.next_line().await.expect("stdout is readable").expect("the attack prints a report");
        let status = self.process.wait().await.expect("the process ends");
        assert!(status.success(), "the attack failed: {status}");
        serde_json::from_str(&line).expect("the report is JSON")
    }
}

/// Starts the mix of attacks, and returns a future of its output.
pub(crate) fn attack_with_mix(
    server: &Server,
    count: usize,
    only: &[Attack],
    time: Duration,
) -> impl Future<Output = String> + use<> {
    let mut command = command(server, "attack", time);
    command.args(["--count", &count.to_string()]).args(only.iter().map(|attack| format!("--only={}", attack.name())));
    let process = command.spawn().expect("the process starts");
    async {
        let output = process.wait_with_output().await.expect("the process ends");
        assert!(output.status.success(), "the attack failed: {}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

/// Returns a command that runs a subcommand of this program.
fn command(server: &Server, subcommand: &str, time: Duration) -> Command {
    let mut command = Command::new("nice");
    command.arg(this_program()).args([subcommand, &server.target.url(), "--seconds", &time.as_secs_f64().to_string()]);
    command.stdout(Stdio::piped()).kill_on_drop(true);
    command
}
