//! The settings of a cluster.

use crate::process::{sigver, utf8, write};
use crate::{check, print, rejects};

const URL: [&str; 2] = ["--cluster-url", "redis://localhost"];

/// Checks that the server rejects these options in addition to a valid URL.
async fn rejects_in_cluster(args: &[&str], words: &[&str]) {
    rejects(&[&URL, args].concat(), words).await;
}

#[tokio::test]
async fn one_flag_suffices() {
    assert_eq!(check(&URL, &[]).await, Ok(()));
    assert_eq!(check(&[], &[("SIGVER_CLUSTER_URL", "redis://localhost")]).await, Ok(()));
}

#[tokio::test]
async fn invalid_setting_is_reported_by_its_name_in_the_file() {
    for (url, words) in [
        ("localhost:6379", &["cluster.url must start with redis://, rediss://"][..]),
        ("redis://", &["cluster.url must have valid hosts"]),
        ("redis://10.0.0.1", &["cluster.url must start with rediss://", "allow_unencrypted"]),
    ] {
        rejects(&["--cluster-url", url], words).await;
    }
    let allowed = ["--cluster-url", "redis://10.0.0.1", "--cluster-allow-unencrypted"];
    assert_eq!(check(&allowed, &[]).await, Ok(()));
    rejects_in_cluster(&["--cluster-name", "Prod"], &["cluster.name must have 1 to 32 of the characters"]).await;
    rejects_in_cluster(&["--cluster-beat-interval", "0s"], &["cluster.beat_interval is 0ns; must be greater than 0"])
        .await;
    rejects_in_cluster(&["--cluster-node-timeout", "7s"], &["cluster.node_timeout is 7s; must be at least 4 *"]).await;
    rejects_in_cluster(&["--cluster-max-inbox-entries", "0"], &["cluster.max_inbox_entries is 0; must be"]).await;
    rejects_in_cluster(&["--cluster-user", "me"], &["cluster.user must not be set without a password"]).await;
    // A setting of the hub has no prefix.
    rejects_in_cluster(&["--max-peers", "0"], &["sigver: max_peers is 0; must be at least 1"]).await;
}

#[tokio::test]
async fn files_of_a_cluster_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing");
    for option in ["--cluster-password-file", "--cluster-sentinel-password-file", "--cluster-ca-certificates"] {
        rejects_in_cluster(&[option, utf8(&missing)], &["cannot read", option, utf8(&missing)]).await;
    }
    let password = write(folder.path(), "password", "a password\n");
    assert_eq!(check(&[&URL[..], &["--cluster-password-file", utf8(&password)]].concat(), &[]).await, Ok(()));
    let tls = ["--cluster-url", "rediss://redis.example", "--cluster-ca-certificates", utf8(&password)];
    rejects(&tls, &["cluster.ca_certificates must"]).await;
}

#[tokio::test]
async fn settings_of_a_cluster_require_its_url() {
    for (args, given) in [
        (&["--cluster-user", "me"][..], "cluster.user"),
        (&["--cluster-password-file", "p"], "cluster.password_file"),
        (&["--cluster-sentinel-user", "me"], "cluster.sentinel_user"),
        (&["--cluster-sentinel-password-file", "p"], "cluster.sentinel_password_file"),
        (&["--cluster-ca-certificates", "c"], "cluster.ca_certificates"),
        (&["--cluster-allow-unencrypted"], "cluster.allow_unencrypted"),
    ] {
        rejects(args, &[&format!("{given} is set; requires cluster.url")]).await;
    }
}

#[tokio::test]
async fn credentials_in_the_url_are_not_printed() {
    let url = "redis://me:s3cret/@localhost:1";
    let printed = print(&["--cluster-url", url], &[]).await;
    assert!(!printed.contains("s3cret") && !printed.contains("me:"), "{printed}");
    assert!(
        printed.starts_with("# The URL of the cluster has a user or a password, which is not printed."),
        "{printed}"
    );
    assert!(printed.contains("url = \"redis://localhost:1\"\n"), "{printed}");
    let output = sigver(&["--help"]).env("SIGVER_CLUSTER_URL", url).output().await.expect("it starts");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(help.contains("[env: SIGVER_CLUSTER_URL]") && !help.contains("s3cret"), "{help}");
    // An invalid URL is not repeated: any part of it may be the password.
    let error = check(&["--cluster-url", url], &[]).await.expect_err("a slash must be percent-encoded");
    assert!(error.contains("cluster.url must") && !error.contains("s3cret"), "{error}");
}
