//! Notifications for a service manager, as systemd expects them.

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;
use tokio::time::timeout;

use crate::common::open;
use crate::kill;
use crate::process::{FREE_PORT, sigver, spawn};

/// The socket of a service manager.
struct Manager(tokio::net::UnixDatagram);

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_nonblocking(true).expect("a socket");
        Self(tokio::net::UnixDatagram::from_std(socket).expect("the test runs in a runtime"))
    }

    /// Returns a manager with a path, the folder of that, and the value of `NOTIFY_SOCKET`.
    fn with_path() -> (Self, TempDir, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("notify").into_os_string().into_string().expect("UTF-8");
        (Self::new(UnixDatagram::bind(&path).expect("a free path")), folder, path)
    }

    /// Returns the next notification, one line for each variable.
    async fn recv(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let received = timeout(Duration::from_secs(60), self.0.recv(&mut buffer)).await;
        let length = received.expect("a notification in time").expect("a datagram");
        let text = std::str::from_utf8(&buffer[..length]).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

async fn start(variables: &[(&str, &str)], args: &[&str]) -> (Child, String) {
    spawn(sigver(&FREE_PORT).args(args).envs(variables.iter().copied())).await
}

/// Shuts the server down, and returns its log.
async fn log(mut process: Child) -> String {
    kill("-INT", &process).await;
    let mut log = String::new();
    process.stderr.take().expect("stderr is piped").read_to_string(&mut log).await.expect("the log is UTF-8");
    assert_eq!(process.wait().await.expect("it was started").code(), Some(0), "{log}");
    log
}

#[tokio::test]
async fn readiness_and_shutdown_are_reported() {
    let (manager, _folder, path) = Manager::with_path();
    let args = ["--drain-timeout", "10m"];
    let (mut process, address) = start(&[("NOTIFY_SOCKET", &path)], &args).await;
    assert_eq!(manager.recv().await, ["READY=1", &format!("STATUS=Listening on {address}")]);
    let mut peer = open(&address, "/K").await;
    assert!(peer.connect(1, &[]).await);
    kill("-TERM", &process).await;
    let stopping = ["STOPPING=1", "STATUS=Closing 1 peers", "EXTEND_TIMEOUT_USEC=615000000"];
    assert_eq!(manager.recv().await, stopping, "the service manager waits for the drain");
    kill("-INT", &process).await;
    process.wait().await.expect("it was started");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn abstract_socket_is_notified() {
    // Unique while the folder exists.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = folder.path().display().to_string();
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let manager = Manager::new(UnixDatagram::bind_addr(&address).expect("a free name"));
    let (_process, _) = start(&[("NOTIFY_SOCKET", &format!("@{name}"))], &[]).await;
    assert_eq!(manager.recv().await[0], "READY=1");
}

#[tokio::test]
async fn watchdog_is_notified_twice_in_its_time_until_the_end() {
    let (manager, _folder, path) = Manager::with_path();
    let variables = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "400000")];
    let (process, address) = start(&variables, &["--drain-timeout", "1h"]).await;
    assert_eq!(manager.recv().await[0], "READY=1");
    let start = std::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(manager.recv().await, ["WATCHDOG=1"]);
    }
    // The first is immediate.
    assert!(start.elapsed() > Duration::from_millis(590), "{:?}", start.elapsed());
    let mut peers = [open(&address, "/K").await, open(&address, "/another").await];
    for peer in &mut peers {
        assert!(peer.connect(1, &[]).await);
    }
    kill("-TERM", &process).await;
    while manager.recv().await[0] != "STOPPING=1" {}
    assert_eq!(manager.recv().await, ["WATCHDOG=1"], "a draining server is alive");
}

#[tokio::test]
async fn watchdog_of_another_process_is_ignored() {
    let (manager, _folder, path) = Manager::with_path();
    let variables = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let (process, _) = start(&variables, &[]).await;
    assert_eq!(manager.recv().await[0], "READY=1");
    kill("-INT", &process).await;
    assert_eq!(manager.recv().await[0], "STOPPING=1");
}

#[tokio::test]
async fn service_manager_that_cannot_be_notified_is_a_warning() {
    for path in ["vsock:2:1234", "/nonexistent/notify", "@", ""] {
        let (process, address) = start(&[("NOTIFY_SOCKET", path)], &[]).await;
        assert!(open(&address, "/K").await.connect(1, &[]).await);
        let log = log(process).await;
        assert!(path.is_empty() || log.contains("cannot notify the service manager"), "{path:?}: {log}");
    }
}

#[tokio::test]
async fn service_manager_that_does_not_read_does_not_block_the_server() {
    let (_manager, _folder, path) = Manager::with_path();
    let variables = [("NOTIFY_SOCKET", &*path), ("WATCHDOG_USEC", "200")];
    let (process, address) = start(&variables, &["--heartbeat-interval", "500ms"]).await;
    let mut peer = open(&address, "/K").await;
    assert!(peer.connect(1, &[]).await);
    // The queue of a datagram socket has room for some hundred notifications.
    for _ in 0..2 {
        while peer.recv_any().await.expect("the server answers") != sigver::client::Event::Heartbeat {}
        peer.send_heartbeat().await;
    }
    let log = log(process).await;
    assert_eq!(log.matches("cannot notify the service manager").count(), 1, "{log}");
}
