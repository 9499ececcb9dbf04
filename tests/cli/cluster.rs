//! Several standalone servers on one Redis.

use std::time::Duration;

use serde_json::Value;
use sigver::client::Event;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::time::{sleep, timeout};

use crate::admin::{get, get_json, request, spawn};
use crate::common::open;
use crate::kill;
use crate::process::{FREE_PORT, sigver, utf8, write};
use crate::redis::{Redis, free_port};

/// A server of a cluster.
struct Node {
    process: Child,
    address: String,
    admin: String,
}

/// Starts a server in the cluster on this Redis.
async fn start(url: &str, args: &[&str]) -> Node {
    let cluster = ["--admin", "127.0.0.1:0", "--cluster-url", url];
    let (process, address, admin) = spawn(sigver(&FREE_PORT).args(cluster).args(args)).await;
    Node { process, address, admin }
}

/// Starts a server, and waits until it is ready.
async fn start_ready(url: &str, args: &[&str]) -> Node {
    let node = start(url, args).await;
    wait_until_ready(&node).await;
    node
}

async fn readiness(node: &Node) -> (u16, String) {
    request(&node.admin, "localhost", "GET", "/readyz").await
}

async fn wait_until_ready(node: &Node) {
    let ready = async {
        while readiness(node).await.0 != 200 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), ready).await.expect("the server becomes ready");
}

/// Waits until the status of a server has a property.
async fn wait_for_status(node: &Node, property: impl Fn(&Value) -> bool) -> Value {
    let found = async {
        loop {
            let status = get_json(&node.admin, "/status").await;
            if property(&status) {
                return status;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), found).await.expect("the status has the property in time")
}

/// Waits for a line of a log that contains these words, and returns all lines until then.
async fn wait_for_line(log: &mut BufReader<ChildStderr>, words: &str) -> String {
    let mut text = String::new();
    let found = async {
        while !text.lines().last().is_some_and(|line| line.contains(words)) {
            assert_ne!(log.read_line(&mut text).await.expect("UTF-8"), 0, "no line with {words:?} in {text}");
        }
    };
    timeout(Duration::from_secs(60), found).await.expect("the line is logged in time");
    text
}

#[tokio::test]
async fn peers_of_two_servers_on_one_redis_meet() {
    let redis = Redis::start(&[]).await;
    let [a, mut b] = [start_ready(&redis.url(), &[]).await, start_ready(&redis.url(), &[]).await];
    let mut log = BufReader::new(b.process.stderr.take().expect("stderr is piped"));
    assert!(wait_for_line(&mut log, "connected to the cluster").await.contains(" nodes=2"));
    let mut member = open(a.address.clone(), "/a-secret-key").await;
    assert!(member.connect(1, &[]).await);
    let mut joiner = open(b.address.clone(), "/a-secret-key").await;
    assert!(!joiner.connect(2, &[]).await, "the joiner is bound to the member of the other server");
    joiner.send_content(0, "offer").await;
    let (link, offer) = member.recv_content().await;
    assert_eq!(offer, "offer");
    member.send_content(link, "answer").await;
    assert_eq!(joiner.recv_content().await.1, "answer");

    let status = wait_for_status(&a, |status| status["cluster"]["nodes"] == 2).await;
    let cluster = &status["cluster"];
    assert_eq!(status["ready"], true, "{status}");
    assert_eq!((&cluster["steps"][0][0], cluster["steps"][0][1].as_u64() >= Some(1)), (&"applied".into(), true));
    assert_eq!((&cluster["gaps"], &cluster["resets"], &cluster["steps_waiting"]), (&0.into(), &0.into(), &0.into()));
    assert!(cluster["records_received"].as_u64() >= Some(2) && cluster["beat_age_seconds"].is_f64(), "{status}");
    assert_eq!(cluster["repairs"].as_array().map(Vec::len), Some(3), "{status}");
    // The counters of metrics are updated at each beat.
    wait_for_status(&b, |status| status["cluster"]["nodes"] == 2).await;
    let metrics = get(&b.admin, "/metrics").await;
    for line in ["sigver_cluster_nodes 2", "sigver_cluster_gaps_total 0"] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
    assert!(metrics.contains("sigver_cluster_step_duration_seconds_count{outcome=\"condition_failed\"} "), "{metrics}");
    let keys = redis.command("KEYS *").await;
    assert!(keys.contains("sv1:sigver:nodes") && !keys.contains("secret-key"), "{keys}");
}

#[tokio::test]
async fn server_without_a_cluster_has_no_cluster_status() {
    let (_process, _, admin) = spawn(sigver(&FREE_PORT).args(["--admin", "127.0.0.1:0"])).await;
    let status = get_json(&admin, "/status").await;
    assert_eq!((&status["ready"], &status["cluster"]), (&Value::Bool(true), &Value::Null), "{status}");
    assert!(!get(&admin, "/metrics").await.contains("sigver_cluster"));
}

#[tokio::test]
async fn terminated_server_ends_its_links_and_removes_its_members() {
    let redis = Redis::start(&[]).await;
    let [a, b] = [start_ready(&redis.url(), &[]).await, start_ready(&redis.url(), &[]).await];
    let mut member = open(a.address.clone(), "/K").await;
    assert!(member.connect(1, &[]).await);
    let mut joiner = open(b.address.clone(), "/K").await;
    assert!(!joiner.connect(2, &[]).await);
    let Node { mut process, .. } = a;
    kill("-TERM", &process).await;
    let closed = async move { assert_eq!(member.recv_close().await.code, 1001) };
    let ended = async { assert!(matches!(joiner.recv().await, Ok(Event::Ended { .. }))) };
    // A crash would end the link after 10 s.
    tokio::join!(closed, async { timeout(Duration::from_secs(8), ended).await.expect("the link ends at once") });
    assert_eq!(process.wait().await.expect("the server was started").code(), Some(0));
    assert_eq!(redis.command("KEYS *:members").await, "*0\r\n", "the member is in no list");
    assert!(joiner.connect(2, &[]).await, "the group has no other member");
    assert!(redis.command("KEYS *:members").await.starts_with("*1\r\n"));
}

#[tokio::test]
async fn server_keeps_trying_to_reach_redis_and_is_not_ready_until_then() {
    let port = free_port();
    let mut node = start(&format!("redis://user:s3cret@127.0.0.1:{port}"), &[]).await;
    assert_eq!(readiness(&node).await, (503, "the engine of the cluster is unreachable\n".to_owned()));
    assert_eq!(get(&node.admin, "/healthz").await, "ok\n");
    assert_eq!(get_json(&node.admin, "/status").await["ready"], false);
    let mut log = BufReader::new(node.process.stderr.take().expect("stderr is piped"));
    let lines = wait_for_line(&mut log, "the engine of the cluster is unreachable").await;
    assert!(lines.contains(&format!("127.0.0.1:{port}")) && !lines.contains("s3cret"), "{lines}");

    let user = ["--user", "user", "on", ">s3cret", "~*", "+@all"];
    let redis = Redis::start_on(port, &user).await.expect("the port is still free");
    let lines = wait_for_line(&mut log, "the engine of the cluster is reachable again").await;
    assert!(!lines.contains("s3cret"), "{lines}");
    wait_until_ready(&node).await;
    let mut peer = open(node.address.clone(), "/K").await;
    assert!(peer.connect(1, &[]).await);
    drop(redis);
    wait_for_status(&node, |status| status["ready"] == false).await;
}

#[tokio::test]
async fn password_is_read_from_its_file_and_a_wrong_one_is_reported() {
    let redis = Redis::start(&["--requirepass", "right"]).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [right, wrong] =
        [("right", "right\n"), ("wrong", "wr0ng\n")].map(|(name, text)| write(folder.path(), name, text));
    start_ready(&redis.url(), &["--cluster-password-file", utf8(&right)]).await;

    let mut node = start(&redis.url(), &["--cluster-password-file", utf8(&wrong)]).await;
    let mut log = BufReader::new(node.process.stderr.take().expect("stderr is piped"));
    let lines = wait_for_line(&mut log, "the user or the password is wrong").await;
    assert!(!lines.contains("wr0ng"), "{lines}");
    assert_eq!(readiness(&node).await.0, 503);
    kill("-INT", &node.process).await;
    let mut rest = String::new();
    log.read_to_string(&mut rest).await.expect("UTF-8");
    assert!(!rest.contains("wr0ng"), "{rest}");
    assert_eq!(node.process.wait().await.expect("the server was started").code(), Some(0));
}

#[tokio::test]
async fn unsuitable_configuration_of_redis_is_reported() {
    // The user lacks a command that the scripts need.
    let user = ["--user", "sigver", "on", ">s3cret", "~sv1:*", "+@all", "-xadd"];
    let redis = Redis::start(&[&["--maxmemory-policy", "allkeys-lru"], &user[..]].concat()).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let password = write(folder.path(), "password", "s3cret");
    let mut node = start(&redis.url(), &["--cluster-user", "sigver", "--cluster-password-file", utf8(&password)]).await;
    let mut log = BufReader::new(node.process.stderr.take().expect("stderr is piped"));
    let lines = wait_for_line(&mut log, "connected to the cluster").await;
    assert!(lines.contains("noeviction") && lines.to_lowercase().contains("xadd"), "{lines}");
    assert!(!lines.contains("s3cret"), "{lines}");
}

#[tokio::test]
async fn clusters_of_different_names_share_no_group() {
    let redis = Redis::start(&[]).await;
    let a = start_ready(&redis.url(), &["--cluster-name", "a"]).await;
    let b = start_ready(&redis.url(), &["--cluster-name", "b"]).await;
    let [mut first, mut second] = [open(a.address.clone(), "/K").await, open(b.address.clone(), "/K").await];
    assert!(first.connect(1, &[]).await);
    assert!(second.connect(2, &[]).await);
    assert_eq!(get_json(&b.admin, "/status").await["cluster"]["nodes"], 1);
}
