//! Real servers for the tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::super::{RedisBackplane, RedisBackplaneBuilder};

/// Runs a server until it is killed, or until this shell's input is closed, which happens however the test process ends.
/// In the second case, nothing else deletes the folder.
const RUN: &str = r#"
exec 3<&0 2>/dev/null
folder=$1
shift
"$@" </dev/null 3<&- 2>&1 &
pid=$!
echo "pid $pid"
(cat <&3; kill -9 "$pid"; rm -r "$folder") &
wait "$pid"
kill "$!"
"#;

/// A server on a free port of the loopback interface. It ends when this is dropped.
pub(super) struct Server {
    process: Process,
    settings: Vec<String>,
    pub(super) port: u16,
    folder: TempDir,
}

/// A running process.
struct Process {
    shell: Child,
    pid: String,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a server that stores nothing on disk.
    pub(super) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with settings: names and values, as in its configuration file. `PORT` in a value is its port.
    pub(super) fn with(settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        for _ in 0..20 {
            let port = free_port();
            if let Ok(process) = Process::start(&settings, port, &folder) {
                return Self { process, settings, port, folder };
            }
        }
        panic!("redis-server does not start on 20 ports");
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn builder(&self) -> RedisBackplaneBuilder {
        RedisBackplane::builder(self.url(), "test")
    }

    pub(super) fn backplane(&self) -> RedisBackplane {
        self.builder().build().expect("the settings are valid")
    }

    /// Kills the server without a warning.
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server again, on the same port and with the files that it has.
    pub(super) fn restart(&mut self) {
        self.process = Process::start(&self.settings, self.port, &self.folder).expect("the server starts again");
    }

    /// Sends a command, and returns the start of the reply.
    pub(super) fn command(&self, command: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("the server accepts");
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("the server reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("the server replies");
        reply.strip_suffix("+OK\r\n").expect("the reply to QUIT").trim_end().to_owned()
    }
}

impl Process {
    /// Returns the log if the server ends instead of becoming ready.
    fn start(settings: &[String], port: u16, folder: &TempDir) -> Result<Self, String> {
        let folder = folder.path().display().to_string();
        let port = port.to_string();
        let mut text = format!("bind 127.0.0.1\nport {port}\ndir {folder}\n");
        text += "save \"\"\n";
        for setting in settings {
            text += &setting.replace("PORT", &port);
            text.push('\n');
        }
        let path = format!("{folder}/redis.conf");
        std::fs::write(&path, text).expect("the folder is writable");
        let program = if settings.iter().any(|setting| setting.starts_with("sentinel")) {
            "redis-sentinel"
        } else {
            "redis-server"
        };
        let mut shell = Command::new("sh")
            .args(["-c", RUN, "sh", &folder, program, &path])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut lines = BufReader::new(shell.stdout.take().expect("the output is a pipe")).lines();
        let (mut pid, mut log) = (String::new(), String::new());
        loop {
            let Some(Ok(line)) = lines.next() else {
                let input = shell.stdin.take();
                _ = shell.wait();
                drop(input);
                return Err(log);
            };
            match line.strip_prefix("pid ") {
                Some(number) => pid = number.to_owned(),
                None => log += &(line.clone() + "\n"),
            }
            if line.contains("Ready to accept connections") || line.contains("Sentinel ID is") {
                break;
            }
        }
        let log = Arc::new(Mutex::new(log));
        let copy = log.clone();
        // The server blocks if nothing reads its log.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *copy.lock().expect("not poisoned") += &(line + "\n");
            }
        });
        Ok(Self { shell, pid, log })
    }

    fn kill(&mut self) {
        _ = Command::new("kill").args(["-9", &self.pid]).status();
        // The shell ends with the server, before its input is closed.
        let input = self.shell.stdin.take();
        _ = self.shell.wait();
        drop(input);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}
