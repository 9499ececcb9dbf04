//! Hubs over a real Redis: what the engine sees, and what an operator reads.

#![cfg(feature = "redis")]

#[path = "common/log.rs"]
mod log;
#[path = "common/redis.rs"]
mod redis;

use std::net::Ipv4Addr;
use std::time::Duration;

use log::Log;
use redis::Redis;
use sigver::cluster::RedisBackplane;
use sigver::{CloseCode, ClusterConfig, SignalingHub, memory};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Ends the record of commands.
const END: &str = "end-of-the-record";

const KEY: &str = "a-secret-key-of-a-group";

/// Starts a node, and waits until it is ready.
async fn start(redis: &Redis) -> (SignalingHub, JoinHandle<()>) {
    let backplane = RedisBackplane::builder(redis.url(), "test").build().expect("the settings are valid");
    let (hub, driver) =
        SignalingHub::builder().build_cluster(ClusterConfig::new(backplane)).expect("the settings are valid");
    let driver = tokio::spawn(driver);
    let ready = async {
        while !hub.is_ready() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), ready).await.expect("the engine is reachable");
    (hub, driver)
}

/// Records each command that the engine executes, with its arguments, until one contains `END`.
async fn monitor(redis: &Redis) -> JoinHandle<String> {
    let address = redis.url();
    let port: u16 = address.rsplit_once(':').expect("it has a port").1.parse().expect("a number");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the server accepts");
    stream.write_all(b"MONITOR\r\n").await.expect("the server reads");
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).await.expect("the server replies");
    assert_eq!(&reply, b"+OK\r\n");
    tokio::spawn(async move {
        let mut commands = String::new();
        let mut lines = BufReader::new(stream);
        while !commands.contains(END) {
            assert_ne!(lines.read_line(&mut commands).await.expect("the server escapes bytes"), 0, "{commands}");
        }
        commands
    })
}

#[tokio::test]
async fn key_never_reaches_the_engine() {
    let redis = Redis::start(&[]).await;
    let commands = monitor(&redis).await;
    let [(a, _), (b, _)] = [start(&redis).await, start(&redis).await];
    let mut member = memory::join(&a, KEY);
    assert!(member.connect(1, &[]).await);
    let mut joiner = memory::join(&b, KEY);
    assert!(!joiner.connect(2, &[]).await, "the joiner is bound to the member of the other node");
    joiner.send_content(0, "an offer").await;
    let (link, offer) = member.recv_content().await;
    assert_eq!(offer, "an offer");
    member.send_content(link, "an answer").await;
    assert_eq!(joiner.recv_content().await.1, "an answer");
    assert!(joiner.connect(2, &[1]).await);
    // Sent to all nodes.
    b.close_group(KEY, CloseCode::app(4001));
    assert_eq!((member.recv_close().await.code, joiner.recv_close().await.code), (4001, 4001));

    redis.command(&format!("ECHO {END}")).await;
    let commands = timeout(Duration::from_secs(10), commands).await.expect("it was recorded").expect("no panic");
    for seen in ["EVALSHA", ":members", ":inbox", "sv1:test:nodes", "an offer", "an answer"] {
        assert!(commands.contains(seen), "no {seen} in {commands}");
    }
    assert!(!commands.contains("a-secret") && !commands.contains("of-a-group"), "{commands}");
}

#[tokio::test]
async fn setup_that_loses_data_is_logged_at_start() {
    let log = Log::capture();
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    start(&redis).await;
    let lines = log.take();
    let [line] = &*lines else { panic!("{lines:?}") };
    assert!(line.contains("the engine of the cluster is not configured as it should be"), "{line}");
    assert!(line.contains("maxmemory-policy is allkeys-lru; must be noeviction"), "{line}");
}

#[tokio::test]
async fn command_that_the_user_lacks_is_named_in_the_log() {
    let log = Log::capture();
    let permissions = "~sv1:* +@all -hincrby -hset";
    let mut user = vec!["--user", "default", "on", "nopass"];
    user.extend(permissions.split(' '));
    let redis = Redis::start(&user).await;
    let backplane = RedisBackplane::builder(redis.url(), "test").build().expect("the settings are valid");
    let cluster = SignalingHub::builder().build_cluster(ClusterConfig::new(backplane));
    let (hub, driver) = cluster.expect("the settings are valid");
    let _driver = tokio::spawn(driver);
    let mut lines = Vec::new();
    let logged = async {
        while lines.len() < 3 {
            sleep(Duration::from_millis(10)).await;
            lines.extend(log.take());
        }
    };
    timeout(Duration::from_secs(10), logged).await.expect("three lines");
    for (line, expected) in lines.iter().zip([
        "the user has no permission for the command HSET",
        "the user has no permission for the command HINCRBY",
        "the engine of the cluster is unreachable",
    ]) {
        assert!(line.contains(expected), "{lines:?}");
    }
    assert!(!hub.is_ready());
}
