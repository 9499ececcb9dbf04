//! Real servers for tests. They end with the test process.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;
use std::{env, fs, thread};

use tempfile::TempDir;

/// Runs a server until it is killed, or until this shell's input is closed, which happens however the test process
/// ends. In the second case, nothing else deletes the folder. The output ends with the server, although `cat` may not.
const RUN: &str = r#"
exec 3<&0 2>/dev/null
folder=$1
shift
"$@" </dev/null 3<&- 2>&1 &
pid=$!
echo "pid $pid"
(cat <&3; kill -9 "$pid"; rm -r "$folder") >/dev/null &
wait "$pid"
kill "$!"
"#;

/// A server on a free port of the loopback interface. It ends when this is dropped.
pub(crate) struct Server {
    process: Process,
    arguments: Vec<String>,
    pub(crate) port: u16,
    folder: TempDir,
}

/// A running process.
struct Process {
    shell: Child,
    pid: String,
}

impl Server {
    /// Starts a server. The settings are lines of its configuration file. `PORT` in a setting is its port, and `FOLDER`
    /// its folder. Without other settings, it stores nothing on disk.
    ///
    /// Returns `None` if the environment says to skip the tests that need a server.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        Self::with_arguments(settings, &[])
    }

    /// Starts a Sentinel.
    pub(crate) fn sentinel(settings: &[&str]) -> Option<Self> {
        Self::with_arguments(settings, &["--sentinel"])
    }

    fn with_arguments(settings: &[&str], arguments: &[&str]) -> Option<Self> {
        if is_skipped() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let path = folder.path().join("redis.conf").display().to_string();
        let arguments: Vec<_> = [&*path].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        let mut log = String::new();
        for _ in 0..20 {
            let port = free_port();
            let mut text = format!("bind 127.0.0.1\nport {port}\ndir {}\n", folder.path().display());
            for setting in settings {
                text += &setting.replace("PORT", &port.to_string()).replace("FOLDER", &folder.path().to_string_lossy());
                text.push('\n');
            }
            fs::write(&path, text).expect("the folder is writable");
            match Process::start(&arguments, &folder) {
                Ok(process) => return Some(Self { process, arguments, port, folder }),
                Err(text) => log = text,
            }
        }
        panic!("redis-server does not start; its output:\n{log}");
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Kills the server without a warning.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the server: it keeps its connections and does nothing.
    pub(crate) fn pause(&self) {
        self.process.signal("-STOP");
    }

    /// Lets a paused server continue.
    pub(crate) fn resume(&self) {
        self.process.signal("-CONT");
    }

    /// Starts a killed server again, on the same port and with the files that it has.
    pub(crate) fn restart(&mut self) {
        self.process = Process::start(&self.arguments, &self.folder).expect("the server starts again");
    }

    /// Sends commands, one per line, and returns the replies as the protocol has them. An engine that needs a password
    /// needs AUTH as the first command.
    pub(crate) fn command(&self, commands: &str) -> String {
        self.try_command(commands).expect("the server replies")
    }

    /// Sends commands until the replies meet a condition.
    pub(crate) async fn wait_until(&self, commands: &str, condition: impl Fn(&str) -> bool) {
        let mut last = None;
        for _ in 0..1000 {
            let reply = self.try_command(commands);
            if reply.as_ref().is_ok_and(|reply| condition(reply)) {
                return;
            }
            last = Some(reply);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{commands} does not have the expected reply: {last:?}");
    }

    fn try_command(&self, commands: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(format!("{commands}\r\n").as_bytes())?;
        // The server replies and then closes the connection.
        stream.shutdown(Shutdown::Write)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply.trim_end().to_owned())
    }
}

impl Process {
    /// Returns the log if the server ends instead of becoming ready.
    fn start(arguments: &[String], folder: &TempDir) -> Result<Self, String> {
        let mut shell = Command::new("sh")
            .args(["-c", RUN, "sh"])
            .arg(folder.path())
            .arg("redis-server")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut lines = BufReader::new(shell.stdout.take().expect("the output is a pipe")).lines();
        let (mut pid, mut is_ready, mut log) = (String::new(), false, String::new());
        // The shell can be slower than the server, so the two lines come in any order.
        while pid.is_empty() || !is_ready {
            let Some(Ok(line)) = lines.next() else {
                wait(&mut shell);
                return Err(log);
            };
            match line.strip_prefix("pid ") {
                Some(number) => pid = number.to_owned(),
                None => log += &format!("{line}\n"),
            }
            is_ready |= line.contains("Ready to accept connections") || line.contains("Sentinel ID is");
        }
        // The server blocks if nothing reads its log.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { shell, pid })
    }

    fn signal(&self, signal: &str) {
        // It fails if the process has ended.
        _ = Command::new("kill").args([signal, &self.pid]).stderr(Stdio::null()).status();
    }

    fn kill(&mut self) {
        self.signal("-KILL");
        wait(&mut self.shell);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns whether the environment says to skip the tests that need a server. Says so on the terminal.
fn is_skipped() -> bool {
    static CHECKED: Once = Once::new();
    let skipped = env::var("SIGVER_TEST_REDIS").is_ok_and(|value| value == "skip");
    CHECKED.call_once(|| {
        if skipped {
            // Unlike the macros, this is not captured by the test harness.
            let text = "\nSKIPPED: the tests with real Redis servers, because SIGVER_TEST_REDIS is skip\n";
            io::stderr().write_all(text.as_bytes()).expect("stderr is writable");
            return;
        }
        let version = Command::new("redis-server").arg("--version").output();
        let hint = "redis-server is not installed; run `apt-get install redis-server`, or set SIGVER_TEST_REDIS=skip";
        assert!(version.is_ok_and(|output| output.status.success()), "{hint}");
    });
    skipped
}

/// Waits for the end of the shell, which ends with the server. Only then closes its input.
fn wait(shell: &mut Child) {
    let input = shell.stdin.take();
    shell.wait().expect("the shell is a child of this process");
    drop(input);
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn server_on_a_port_in_use_does_not_start() {
    let Some(server) = Server::start(&[]) else { return };
    let log = Process::start(&server.arguments, &server.folder).err().expect("the server fails");
    assert!(log.contains(&format!("listening socket 127.0.0.1:{}", server.port)), "{log}");
}
