//! A Unix socket in place of the public port.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use futures::FutureExt as _;
use serde_json::{Value, json};
use sigver::client::WebSocket;
use sigver::memory::TestClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;

use crate::admin::{self, get_json};
use crate::common::websocket::{connector, try_open_with};
use crate::process::{sigver, spawn};
use crate::{fails, kill};

type Peer = TestClient<WebSocket<UnixStream>>;

/// The path of a socket, and its folder.
fn path() -> (TempDir, String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sigver.sock").into_os_string().into_string().expect("UTF-8");
    let host = format!("unix:{path}");
    (folder, path, host)
}

/// Opens a WebSocket as a proxy does, with this `X-Forwarded-For`.
async fn try_open_forwarded(path: &str, forwarded: Option<&str>) -> Result<Peer, u16> {
    let stream = UnixStream::connect(path).await.expect("the server listens");
    let mut connector = connector("ws://localhost/K");
    if let Some(forwarded) = forwarded {
        connector = connector.header("X-Forwarded-For", forwarded).expect("a value");
    }
    try_open_with(connector, stream).await.map(TestClient::new)
}

async fn open_forwarded(path: &str, forwarded: Option<&str>) -> Peer {
    try_open_forwarded(path, forwarded).await.unwrap_or_else(|status| panic!("rejected with {status}"))
}

/// Starts a server on this socket, with an admin listener. Returns it with the address of that.
async fn start(host: &str, args: &[&str]) -> (Child, String) {
    let (process, address, admin) = admin::spawn(sigver(&["--host", host, "--admin", "127.0.0.1:0"]).args(args)).await;
    assert_eq!(address, host, "it prints the path");
    (process, admin)
}

/// Returns the client IPs of the peers of the only group, in the order of the joins.
async fn client_ips(admin: &str) -> Vec<Value> {
    let status = get_json(admin, "/status").await;
    let hash = status["largest_groups"][0]["hash"].as_str().expect("a group").to_owned();
    let peers = get_json(admin, &format!("/groups/{hash}")).await;
    peers.as_array().expect("a list").iter().map(|peer| peer["client_ip"].clone()).collect()
}

#[tokio::test]
async fn peers_meet_over_a_unix_socket_and_its_file_is_removed_at_exit() {
    for signal in ["-INT", "-TERM"] {
        let (_folder, path, host) = path();
        let (mut process, _) = spawn(&mut sigver(&["--host", &host])).await;
        assert!(std::fs::symlink_metadata(&path).expect("the file exists").file_type().is_socket());
        let mut member = open_forwarded(&path, None).await;
        assert!(member.connect(1, &[]).await);
        let mut joiner = open_forwarded(&path, None).await;
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_content(0, "offer").await;
        assert_eq!(member.recv_content().await.1, "offer");
        kill(signal, &process).await;
        for mut peer in [member, joiner] {
            while peer.recv().await.is_ok() {}
        }
        assert_eq!(process.wait().await.expect("it was started").code(), Some(0));
        assert!(!Path::new(&path).exists());
    }
}

#[tokio::test]
async fn health_checks_work_over_a_unix_socket() {
    let (_folder, path, host) = path();
    let (_process, _) = spawn(&mut sigver(&["--host", &host])).await;
    let mut stream = UnixStream::connect(&path).await.expect("the server listens");
    let request = b"GET /readyz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("the server reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("the response is UTF-8");
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("ready\n"), "{response}");
}

#[tokio::test]
async fn stale_socket_file_is_replaced_and_one_in_use_is_not() {
    let (_folder, path, host) = path();
    let (mut first, _) = spawn(&mut sigver(&["--host", &host])).await;
    fails(&["--host", &host], &[&format!("cannot listen on {host}: another process listens on it")]).await;
    open_forwarded(&path, None).await;

    first.kill().await.expect("it runs");
    assert!(Path::new(&path).exists(), "a killed server does not remove its file");
    let (_second, _) = spawn(&mut sigver(&["--host", &host])).await;
    open_forwarded(&path, None).await;
}

#[tokio::test]
async fn other_files_and_invalid_paths_are_errors() {
    let (folder, path, host) = path();
    std::fs::write(&path, "content").expect("the folder is writable");
    fails(&["--host", &host], &["cannot listen on unix:/", "the file is not a socket"]).await;
    assert_eq!(std::fs::read(&path).expect("the file exists"), b"content");
    for host in ["unix:", "unix:sigver.sock", "unix:@abstract"] {
        fails(&["--host", host], &[&format!("host is {host}; must be unix:/PATH with an absolute path")]).await;
    }
    let missing = format!("unix:{}/missing/socket", folder.path().display());
    fails(&["--host", &missing], &["cannot listen on", "No such file"]).await;
    let long = format!("unix:{}/{}", folder.path().display(), "x".repeat(200));
    fails(&["--host", &long], &["cannot listen on", "SUN_LEN"]).await;
}

#[tokio::test]
async fn server_whose_file_was_replaced_keeps_the_new_file() {
    let (_folder, path, host) = path();
    let (mut process, _) = spawn(&mut sigver(&["--host", &host])).await;
    std::fs::remove_file(&path).expect("the file exists");
    let other = UnixListener::bind(&path).expect("the path is free");
    let inode = || std::fs::metadata(&path).map(|file| file.ino());
    let expected = inode().expect("the file exists");
    kill("-INT", &process).await;
    process.wait().await.expect("it was started");
    assert_eq!(inode().map_err(|error| error.kind()), Ok::<_, io::ErrorKind>(expected));
    assert!(other.accept().now_or_never().is_none(), "no connection was made to it");
}

#[tokio::test]
async fn header_of_the_proxy_has_the_client_ip_and_limits_per_ip_apply() {
    let (_folder, path, host) = path();
    let args = ["--client-ip-header", "x-forwarded-for", "--trusted-proxy", "10.0.0.0/8", "--max-peers-per-ip", "2"];
    let (_process, admin) = start(&host, &args).await;
    let mut peers = Vec::new();
    for (id, forwarded) in [
        (1, Some("192.0.2.7")),
        (2, Some("0.0.0.0, 127.0.0.1, 192.0.2.7")),
        (3, Some("1.1.1.1, 2001:db8::1, 10.1.2.3")),
        // The proxy reports no client.
        (4, None),
    ] {
        let mut peer = open_forwarded(&path, forwarded).await;
        let _ = peer.connect(id, &[]).await;
        peers.push(peer);
    }
    let expected = [json!("192.0.2.7"), json!("192.0.2.7"), json!("2001:db8::1"), json!("0.0.0.0")];
    assert_eq!(client_ips(&admin).await, expected);
    let mut third = open_forwarded(&path, Some("192.0.2.7")).await;
    assert_eq!(third.recv_close().await.code, 1013, "max_peers_per_ip");
    open_forwarded(&path, Some("192.0.2.8")).await;
}

#[tokio::test]
async fn without_a_header_clients_have_no_ip_and_a_warning_reports_that() {
    let (_folder, path, host) = path();
    let args = ["--max-peers-per-ip", "1", "--max-handshakes-per-ip", "1"];
    let (mut process, admin) = start(&host, &args).await;
    // Neither limit applies.
    let _handshakes = [(); 3].map(|()| std::os::unix::net::UnixStream::connect(&path).expect("the server listens"));
    let mut peers = Vec::new();
    for id in 1..=3 {
        let mut peer = open_forwarded(&path, Some("192.0.2.7")).await;
        let _ = peer.connect(id, &[]).await;
        peers.push(peer);
    }
    assert_eq!(client_ips(&admin).await, [Value::Null, Value::Null, Value::Null]);
    let status = get_json(&admin, "/status").await;
    assert_eq!(status["closed_handshakes"], json!([]), "{status}");
    kill("-INT", &process).await;
    let mut log = String::new();
    process.stderr.take().expect("stderr is piped").read_to_string(&mut log).await.expect("the log is UTF-8");
    assert!(log.contains("client IPs are unknown because the host is a Unix socket"), "{log}");
}
