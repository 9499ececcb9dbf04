//! Errors in the file name the position, the setting and a valid value.

use std::process::Output;

use crate::check;
use crate::process::{run, utf8, write};

/// Checks that the server rejects a file with this text, and that the error contains these words.
async fn rejects_file(text: &str, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "sigver.toml", text);
    let error = check(&["--config", utf8(&file)], &[]).await.expect_err(text);
    for word in words.iter().chain([&"sigver.toml"]) {
        assert!(error.contains(word), "{error:?} does not contain {word:?}");
    }
}

#[tokio::test]
async fn unknown_name_is_an_error_that_suggests_the_nearest_setting() {
    rejects_file(
        "port = 0\nmax_peer = 3\n",
        &["line 2, column 1", "unknown setting `max_peer`; did you mean `max_peers`?"],
    )
    .await;
    rejects_file("max-groups = 3", &["line 1", "did you mean `max_groups`?"]).await;
    rejects_file("colour = 3", &["unknown setting `colour`; must be one of host, port,", "max_peers"]).await;
    rejects_file("[limits]\nmax_peers = 3", &["unknown setting `limits`"]).await;
    rejects_file("[cluster]\nuri = \"redis://a\"", &["line 2, column 1", "did you mean `cluster.url`?"]).await;
    rejects_file("cluster_url = \"redis://a\"", &["line 1", "did you mean `cluster.url`?"]).await;
}

#[tokio::test]
async fn invalid_value_is_an_error_with_its_position_and_a_valid_form() {
    rejects_file("port = 0\nmax_peers = \"3\"\n", &["line 2, column 13", "max_peers", "expected usize"]).await;
    rejects_file("max_groups = -1\n", &["line 1, column 14", "max_groups", "`-1`"]).await;
    rejects_file("heartbeat_interval = 5\n", &["line 1, column 22", "a duration with its unit, such as \"5s\""]).await;
    rejects_file("drain_timeout = \"5\"\n", &["line 1, column 17", "drain_timeout", "time unit needed", "1m 30s"])
        .await;
    rejects_file("max_outbox_bytes = \"1MB\"\n", &["line 1, column 20", "max_outbox_bytes", "65536, 64KiB or 1MiB"])
        .await;
    rejects_file("bytes_per_second = 4294967296\n", &["bytes_per_second", "`4294967296`"]).await;
    rejects_file("client_ip_header = \"via\"\n", &["client_ip_header", "`x-forwarded-for` or `forwarded`"]).await;
    rejects_file(
        "allowed_origins = \"https://app.example\"\n",
        &["line 1, column 19", "allowed_origins", "expected a sequence"],
    )
    .await;
    rejects_file("port = \n", &["line 1"]).await;
    rejects_file("port = 1\nport = 2\n", &["line 2", "port"]).await;
}

#[tokio::test]
async fn invalid_value_of_a_flag_names_the_flag() {
    for (args, words) in [
        (["--max-peers", "many"], ["--max-peers", "many"]),
        (["--heartbeat-interval", "5"], ["--heartbeat-interval", "time unit needed"]),
        (["--max-outbox-bytes", "1MB"], ["--max-outbox-bytes", "64KiB"]),
        (["--client-ip-header", "via"], ["--client-ip-header", "x-forwarded-for"]),
    ] {
        let Output { status, stderr, .. } = run(&args).await;
        let error = String::from_utf8(stderr).expect("UTF-8");
        assert_eq!(status.code(), Some(2), "{error}");
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
