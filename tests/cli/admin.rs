//! The admin listener of the standalone server.

use std::time::Duration;

use futures::future::select_all;
use serde_json::{Value, json};
use sigver::client::ClientError;
use sigver::memory::TestClient;
use sigver::{Frame, Transport};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::common::open;
use crate::kill;
use crate::process::{FREE_PORT, sigver};

/// Starts a server. Returns it with its address and that of its admin listener.
async fn start(args: &[&str]) -> (Child, String, String) {
    spawn(sigver(&FREE_PORT).args(["--admin", "127.0.0.1:0"]).args(args)).await
}

/// Starts a server with an admin listener. Returns it with the addresses of both.
pub(crate) async fn spawn(command: &mut Command) -> (Child, String, String) {
    let mut process = command.spawn().expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
    let mut address = async |prefix| {
        let line = lines.next_line().await.expect("stdout is readable").expect("it prints a line");
        line.strip_prefix(prefix).expect("it prints its address").to_owned()
    };
    let server = address("Signaling server is listening on ").await;
    let admin = address("Admin server is listening on ").await;
    (process, server, admin)
}

/// Sends a request and returns the status and body of the response.
pub(crate) async fn request(admin: &str, host: &str, method: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(admin).await.expect("the admin listener accepts");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut response = String::new();
    socket.read_to_string(&mut response).await.expect("the response is UTF-8");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

pub(crate) async fn get(admin: &str, path: &str) -> String {
    let (status, body) = request(admin, "localhost", "GET", path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

pub(crate) async fn get_json(admin: &str, path: &str) -> Value {
    serde_json::from_str(&get(admin, path).await).expect("JSON")
}

/// Opens three peers in one group: a member and two joiners.
async fn open_three(server: &str) -> Vec<TestClient<impl Transport + Unpin + use<>>> {
    let mut peers = Vec::new();
    for id in 1..=3 {
        let mut peer = open(server.to_owned(), "/K").await;
        assert_eq!(peer.connect(id, &[]).await, id == 1);
        peers.push(peer);
    }
    peers
}

#[tokio::test]
async fn status_lists_groups_and_peers_without_keys() {
    let (_process, server, admin) = start(&[]).await;
    // The answer proves that the server has numbered the first peer before the second one opens its connection.
    let mut member = open(&server, "/secret-key").await;
    assert!(member.connect(7, &[]).await);
    let mut joiner = open(&server, "/secret-key").await;
    assert!(!joiner.connect(8, &[]).await);
    joiner.send_content(0, "offer").await;
    member.recv_content().await;

    let status = get_json(&admin, "/status").await;
    for (name, expected) in [("peers", 2), ("groups", 1), ("links", 1), ("relayed_messages", 1)] {
        assert_eq!(status[name], expected, "{status}");
    }
    let group = &status["largest_groups"][0];
    assert_eq!((&group["peers"], &group["members"], &group["links"]), (&json!(2), &json!(1), &json!(1)), "{status}");
    let hash = group["hash"].as_str().expect("a hash");
    let peers = get_json(&admin, &format!("/groups/{hash}")).await;
    for (peer, member_id, is_bound, joiners) in [(0, json!(7), false, 1), (1, Value::Null, true, 0)] {
        let listed = &peers[peer];
        assert_eq!(listed["peer"], peer, "{peers}");
        assert_eq!(listed["client_ip"], "127.0.0.1", "{peers}");
        assert_eq!(listed["member_id"], member_id, "{peers}");
        assert_eq!(listed["is_bound"], is_bound, "{peers}");
        assert_eq!(listed["joiners"], joiners, "{peers}");
        assert!(["age_seconds", "queued_messages", "queued_bytes"].iter().all(|name| listed[name].is_u64()), "{peers}");
    }
    for path in ["/status", "/metrics", &format!("/groups/{hash}"), "/"] {
        assert!(!get(&admin, path).await.contains("secret-key"), "{path} contains a key");
    }
}

#[tokio::test]
async fn status_counts_rejections_and_closes_by_cause() {
    let (_process, server, admin) = start(&["--max-peers", "2", "--max-members-per-connect", "1"]).await;
    let status = get_json(&admin, "/status").await;
    assert_eq!((&status["rejections"], &status["closes"]), (&json!([]), &json!([])), "{status}");

    // Four connections may be open, so that each rejected one gets a close code.
    let [mut peer, _other] = [open(&server, "/K").await, open(&server, "/K").await];
    assert!(peer.connect(1, &[]).await);
    for _ in 0..2 {
        assert_eq!(open(&server, "/K").await.recv_close().await.code, 1013);
    }
    peer.send_connect(1, &[2, 3]).await;
    peer.recv_close().await;
    let status = get_json(&admin, "/status").await;
    assert_eq!(status["rejections"], json!([["max_peers", 2]]), "{status}");
    assert_eq!(status["closes"], json!([["max_members_per_connect", 1]]), "{status}");
}

#[tokio::test]
async fn metrics_use_the_prometheus_format() {
    let (_process, server, admin) = start(&["--max-peers", "3"]).await;
    let mut peers = open_three(&server).await;
    assert_eq!(open(&server, "/K").await.recv_close().await.code, 1013);
    let metrics = get(&admin, "/metrics").await;
    for line in [
        "# TYPE sigver_peers gauge",
        "sigver_peers 3",
        "sigver_groups 1",
        "sigver_links 2",
        "sigver_connects_total{outcome=\"member\"} 1",
        "sigver_connects_total{outcome=\"bound\"} 2",
        "sigver_rejections_total{cause=\"max_peers\"} 1",
        "sigver_group_event_duration_seconds_count 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
    assert!(!metrics.contains("sigver_closes_total{"), "a rejection is not a close:\n{metrics}");

    peers[2].send_frame(Frame::Text("text".to_owned())).await;
    assert_eq!(peers[2].recv_close().await.code, 4743);
    let metrics = get(&admin, "/metrics").await;
    let line = "sigver_closes_total{code=\"4743\",cause=\"none\"} 1";
    assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
}

#[tokio::test]
async fn draining_server_is_healthy_but_not_ready() {
    let (process, server, admin) = start(&["--drain-timeout", "60s"]).await;
    assert_eq!(get(&admin, "/healthz").await, "ok\n");
    assert_eq!(get(&admin, "/readyz").await, "ready\n");
    assert_eq!(get_json(&admin, "/status").await["draining"], false);
    let mut peers = open_three(&server).await;
    kill("-TERM", &process).await;
    // The drain closes the first of the three peers at once, and the others later.
    let (closed, ..) = select_all(peers.iter_mut().map(|peer| {
        Box::pin(async {
            loop {
                if let Err(error) = peer.recv().await {
                    return error;
                }
            }
        })
    }))
    .await;
    assert!(matches!(&closed, ClientError::Closed(Some(frame)) if frame.code == 1001), "{closed:?}");
    let readiness = request(&admin, "localhost", "GET", "/readyz").await;
    assert_eq!(readiness, (503, "draining\n".to_owned()));
    assert_eq!(get(&admin, "/healthz").await, "ok\n");
    assert_eq!(get_json(&admin, "/status").await["draining"], true);
}

#[tokio::test]
async fn page_loads_nothing_from_other_servers() {
    let (_process, _, admin) = start(&[]).await;
    let page = get(&admin, "/").await;
    assert!(page.starts_with("<!doctype html>"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"), "{page}");
    assert_eq!(request(&admin, "localhost", "HEAD", "/").await, (200, String::new()));
}

#[tokio::test]
async fn unknown_paths_and_methods_get_404_and_405() {
    let (_process, _, admin) = start(&[]).await;
    for path in ["/nothing", "/groups/", "/groups/zz", "/groups/0123456789abcdef"] {
        let (status, body) = request(&admin, "localhost", "GET", path).await;
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("/metrics"), "{body}");
    }
    for method in ["POST", "DELETE", "PUT"] {
        assert_eq!(request(&admin, "localhost", method, "/status").await.0, 405, "{method}");
    }
}

#[tokio::test]
async fn foreign_host_header_gets_421() {
    let (_process, _, admin) = start(&[]).await;
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        (&*admin, 200),
        ("localhost:1234", 200),
        ("[::1]:9000", 200),
    ] {
        for path in ["/", "/status", "/metrics"] {
            assert_eq!(request(&admin, host, "GET", path).await.0, status, "{path} of {host:?}");
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(request(&admin, host, "GET", path).await.0, 200, "load balancers send any host");
        }
    }
}

#[tokio::test]
async fn idle_connections_do_not_block_requests() {
    let (_process, _, admin) = start(&[]).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(&admin).await.expect("the admin listener accepts"));
    }
    let response = timeout(Duration::from_secs(30), get(&admin, "/healthz")).await;
    assert_eq!(response.expect("a response in time"), "ok\n");
    // The oldest of more than 64 connections are closed.
    assert_eq!(idle[0].read(&mut [0]).await.expect("the connection is not reset"), 0);
}

#[tokio::test]
async fn invalid_admin_address_is_an_error() {
    for address in ["nowhere", "127.0.0.1:port", "192.0.2.1:0"] {
        let output = sigver(&FREE_PORT).args(["--admin", address]).output().await.expect("it starts");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("cannot listen on the admin address {address}: ")), "{error}");
    }
}
