//! The stand-alone server's listener for its operator.

use std::time::Duration;

use sigver::memory::Heard;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::common::open;
use crate::process::{address, run, sigver};

const WITH_ADMIN: [&str; 8] = ["--host", "127.0.0.1", "--port", "0", "--admin", "127.0.0.1:0", "--max-peers", "3"];

/// A server, its address and that of its admin listener.
async fn started(more: &[&str]) -> (Child, String, String) {
    let mut command = sigver(&[&WITH_ADMIN[..], more].concat());
    let mut process = command.spawn().expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("its output is piped")).lines();
    let mut next = async || lines.next_line().await.expect("it can be read").expect("it says a line");
    let (signaling, admin) = (next().await, next().await);
    let admin = admin.strip_prefix("Admin server is listening on ").expect("it says where");
    (process, address(&signaling).to_owned(), admin.to_owned())
}

/// Asks the admin listener and returns status and body.
async fn ask(admin: &str, method: &str, path: &str) -> (u16, String) {
    ask_as(admin, "localhost", method, path).await
}

async fn ask_as(admin: &str, host: &str, method: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(admin).await.expect("it listens");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

async fn get(admin: &str, path: &str) -> String {
    let (status, body) = ask(admin, "GET", path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test]
async fn the_server_shows_its_groups_and_peers_without_their_keys() {
    let (_process, server, admin) = started(&[]).await;
    let [mut member, mut joiner] = [open(&server, "/secret-key").await, open(&server, "/secret-key").await];
    assert!(member.connect(7, &[]).await);
    assert!(!joiner.connect(8, &[]).await);
    joiner.send_content(0, "offer").await;
    member.recv_content().await;

    let status: serde_json::Value = serde_json::from_str(&get(&admin, "/status").await).expect("JSON");
    for (name, expected) in [("peers", 2), ("groups", 1), ("links", 1), ("relayed", 1)] {
        assert_eq!(status[name], expected, "{status}");
    }
    let group = &status["largest"][0];
    assert_eq!((&group["peers"], &group["members"]), (&2.into(), &1.into()), "{status}");
    let hash = group["hash"].as_str().expect("a hash");
    let peers = get(&admin, &format!("/groups/{hash}")).await;
    let peers: Vec<serde_json::Value> = serde_json::from_str(&peers).expect("JSON");
    assert!(peers.iter().any(|peer| peer["member"] == 7 && peer["joiners"] == 1), "{peers:?}");
    assert!(peers.iter().all(|peer| peer["address"] == "127.0.0.1"), "{peers:?}");
    for path in ["/status", "/metrics", &format!("/groups/{hash}"), "/"] {
        assert!(!get(&admin, path).await.contains("secret-key"), "{path} has a key");
    }
}

#[tokio::test]
async fn metrics_are_in_the_form_of_prometheus() {
    let (_process, server, admin) = started(&[]).await;
    let mut peers = Vec::new();
    for id in 1..=3 {
        let mut peer = open(&server, "/K").await;
        peer.connect(id, &[]).await;
        peers.push(peer);
    }
    assert_eq!(open(&server, "/K").await.recv_close().await, 1013);
    let metrics = get(&admin, "/metrics").await;
    for line in [
        "# TYPE sigver_peers gauge",
        "sigver_peers 3",
        "sigver_groups 1",
        "sigver_links 2",
        "sigver_joins_total{answer=\"admitted\"} 1",
        "sigver_joins_total{answer=\"bound\"} 2",
        "sigver_turned_away_total{cause=\"max_peers\"} 1",
        "sigver_closes_total{code=\"1013\"} 1",
        "sigver_reducer_seconds_count 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
}

#[tokio::test]
async fn a_server_that_drains_is_well_and_not_ready() {
    let (process, server, admin) = started(&["--drain", "60s"]).await;
    assert_eq!(get(&admin, "/healthz").await, "ok\n");
    assert_eq!(get(&admin, "/readyz").await, "ready\n");
    let mut peers = Vec::new();
    for id in 1..=3 {
        let mut peer = open(&server, "/K").await;
        peer.connect(id, &[]).await;
        peers.push(peer);
    }
    let pid = process.id().expect("it runs").to_string();
    let kill = tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.expect("there is kill");
    assert!(kill.success());
    // The first one of three goes at once, the others later.
    let mut closed = futures::future::select_all(peers.iter_mut().map(|peer| Box::pin(peer.recv()))).await.0;
    while let Heard::Message(_) = closed {
        closed = futures::future::select_all(peers.iter_mut().map(|peer| Box::pin(peer.recv()))).await.0;
    }
    assert!(matches!(closed, Heard::Closed(Some(frame)) if frame.code == 1001));
    assert_eq!(ask(&admin, "GET", "/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(get(&admin, "/healthz").await, "ok\n");
    assert!(get(&admin, "/status").await.contains("\"leaving\":true"));
}

#[tokio::test]
async fn the_page_is_whole_and_asks_nobody_else() {
    let (_process, _, admin) = started(&[]).await;
    let page = get(&admin, "/").await;
    assert!(page.starts_with("<!doctype html>"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"), "{page}");
    assert_eq!(ask(&admin, "HEAD", "/").await, (200, String::new()));
}

#[tokio::test]
async fn what_is_no_question_is_answered_with_what_would_be_one() {
    let (_process, _, admin) = started(&[]).await;
    for path in ["/nothing", "/groups/", "/groups/zz", "/groups/0123456789abcdef"] {
        let (status, body) = ask(&admin, "GET", path).await;
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("/metrics"), "{body}");
    }
    for method in ["POST", "DELETE", "PUT"] {
        assert_eq!(ask(&admin, method, "/status").await.0, 405, "{method}");
    }
}

#[tokio::test]
async fn a_page_that_has_its_own_name_mean_this_address_learns_nothing() {
    let (_process, _, admin) = started(&[]).await;
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        (&*admin, 200),
        ("localhost:1234", 200),
        ("[::1]:9000", 200),
    ] {
        for path in ["/", "/status"] {
            assert_eq!(ask_as(&admin, host, "GET", path).await.0, status, "{path} of {host:?}");
        }
        assert_eq!(ask_as(&admin, host, "GET", "/metrics").await.0, 200, "those who scrape ask by name");
    }
}

#[tokio::test]
async fn one_that_says_nothing_keeps_nobody_else_waiting() {
    let (_process, _, admin) = started(&[]).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(&admin).await.expect("it listens"));
    }
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), get(&admin, "/healthz")).await.expect("at once"), "ok\n");
}

#[tokio::test]
async fn an_admin_address_that_is_none_is_an_error() {
    for wrong in ["nowhere", "127.0.0.1:port", "192.0.2.1:0"] {
        let output = run(&["--host", "127.0.0.1", "--port", "0", "--admin", wrong]).await;
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("cannot listen on {wrong}, as --admin says")), "{error}");
    }
}
