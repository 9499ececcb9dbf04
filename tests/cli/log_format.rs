//! The log as JSON.

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;

use crate::common::open;
use crate::process::{FREE_PORT, sigver, spawn, utf8, write};
use crate::{fails, kill};

/// Shuts the server down and returns its log, parsed: every line is a JSON object.
async fn log(mut process: Child) -> Vec<Value> {
    kill("-INT", &process).await;
    let mut log = String::new();
    process.stderr.take().expect("stderr is piped").read_to_string(&mut log).await.expect("the log is UTF-8");
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test]
async fn each_line_of_a_json_log_is_an_object_with_the_fields_of_its_event() {
    let args = ["--log-format", "json", "--max-peers", "1"];
    let (process, address) = spawn(sigver(&FREE_PORT).args(args).env("RUST_LOG", "sigver=debug")).await;
    let mut peer = open(&address, "/secret%22%0Akey").await;
    assert!(peer.connect(7, &[]).await);
    assert_eq!(open(&address, "/K").await.recv_close().await.code, 1013);
    let lines = log(process).await;
    let find = |message: &str| {
        let mut found = lines.iter().filter(|line| line["message"] == message);
        found.next().unwrap_or_else(|| panic!("no {message:?} in {lines:?}"))
    };
    for line in &lines {
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "{line}");
        }
        assert!(!line.to_string().contains("secret"), "the log contains no keys: {line}");
    }
    let shutdown = find("shutting down");
    assert_eq!(
        (&shutdown["level"], &shutdown["signal"], &shutdown["peers"]),
        (&"INFO".into(), &"SIGINT".into(), &1.into())
    );
    assert_eq!(find("rejected")["cause"], "max_peers");
    assert_eq!(find("peer joined")["span"]["name"], "peer", "an event of a peer has its span");
}

#[tokio::test]
async fn format_is_read_from_file_and_environment() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "sigver.toml", "log_format = \"json\"\n");
    let (process, _) = spawn(sigver(&FREE_PORT).args(["--config", utf8(&file)])).await;
    assert_eq!(log(process).await.last().expect("a line")["message"], "shutting down");
    let (process, _) = spawn(sigver(&FREE_PORT).env("SIGVER_LOG_FORMAT", "json")).await;
    assert_eq!(log(process).await.last().expect("a line")["message"], "shutting down");
}

#[tokio::test]
async fn error_that_ends_the_server_is_a_line_of_the_log() {
    let words = ["\"level\":\"ERROR\"", "\"error\":\"max_peers is 0", "\"message\":\"exited\""];
    fails(&["--log-format", "json", "--max-peers", "0"], &words).await;
    fails(&["--max-peers", "0"], &["sigver: max_peers is 0"]).await;
    let output = sigver(&["--log-format", "json", "--max-peers", "0"]).env("RUST_LOG", "off").output().await;
    let error = String::from_utf8(output.expect("it starts").stderr).expect("UTF-8");
    assert!(error.starts_with("sigver: max_peers is 0"), "an error is never lost: {error}");
}
