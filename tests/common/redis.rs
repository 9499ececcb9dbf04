//! A Redis server for tests of real processes.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A server on a free port of the loopback interface. It stores nothing on disk, and ends when this is dropped.
pub(crate) struct Redis {
    port: u16,
    process: Child,
    _folder: TempDir,
}

impl Redis {
    /// Starts a server with settings: names and values, as on its command line.
    pub(crate) async fn start(settings: &[&str]) -> Self {
        for _ in 0..20 {
            if let Some(redis) = Self::start_on(free_port(), settings).await {
                return redis;
            }
        }
        panic!("redis-server does not start on 20 ports");
    }

    /// Starts a server on this port. Returns `None` if it ends at once: the port may be in use.
    pub(crate) async fn start_on(port: u16, settings: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .args(settings)
            .current_dir(folder.path())
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server must be installed, for example Debian's package redis-server");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        while let Some(line) = lines.next_line().await.expect("stdout is readable") {
            if line.contains("Ready to accept connections") {
                // The server blocks if nothing reads its log.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(Self { port, process, _folder: folder });
            }
        }
        None
    }

    #[allow(dead_code, reason = "only the load of clusters measures the process")]
    pub(crate) fn process(&self) -> &Child {
        &self.process
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command, and returns the reply as the server writes it.
    pub(crate) async fn command(&self, command: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("the server accepts");
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.expect("the server reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("the reply is UTF-8");
        reply.strip_suffix("+OK\r\n").expect("the reply to QUIT").to_owned()
    }
}

/// Returns a port on which nothing listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
