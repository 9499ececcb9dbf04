//! Flags and environment variables.

use std::process::Output;

use tokio::net::TcpListener;

use crate::fails;
use crate::process::{run, sigver, spawn, write};

#[tokio::test]
async fn version_and_help_are_printed_on_stdout() {
    for args in [["-V"], ["--version"]] {
        let version = String::from_utf8(run(&args).await.stdout).expect("UTF-8");
        assert_eq!(version, format!("sigver {}\n", env!("CARGO_PKG_VERSION")));
    }
    let help = String::from_utf8(run(&["--help"]).await.stdout).expect("UTF-8");
    for word in
        ["-h, --host <IP>", "-p, --port", "-k, --key", "-c, --cert", "-a, --ca", "0.0.0.0", "8000", "SIGVER_PORT"]
    {
        assert!(help.contains(word), "{help} does not contain {word:?}");
    }
    for heading in ["Access control:", "Limits:", "Cluster:"] {
        assert!(help.lines().any(|line| line == heading), "{help} has no heading {heading:?}");
    }
}

#[tokio::test]
async fn invalid_arguments_exit_with_code_2() {
    for args in [&["--nonsense"][..], &["-p", "65536"], &["-p"], &["-h"], &["extra"]] {
        let Output { status, stderr, .. } = run(args).await;
        assert_eq!(status.code(), Some(2), "{args:?}");
        assert!(!stderr.is_empty());
    }
}

#[tokio::test]
async fn options_are_read_from_environment_variables() {
    let (_process, address) = spawn(sigver(&[]).env("SIGVER_HOST", "127.0.0.1").env("SIGVER_PORT", "0")).await;
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(!address.ends_with(":0"), "it prints the port that it uses");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = write(folder.path(), "key.pem", "");
    let output = sigver(&[]).env("SIGVER_KEY", &file).output().await.expect("it starts");
    assert!(String::from_utf8(output.stderr).expect("UTF-8").contains("key is set; requires cert"));
}

#[tokio::test]
async fn port_in_use_and_unknown_host_are_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket has an address").port().to_string();
    fails(&["-h", "127.0.0.1", "-p", &port], &["cannot listen on 127.0.0.1:", &port, "in use"]).await;
    fails(&["-h", "no.such.host.invalid", "-p", "0"], &["cannot listen on no.such.host.invalid:0"]).await;
}
