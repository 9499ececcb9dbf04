//! The settings of the standalone server, and their sources.

#![cfg(all(feature = "cli", unix))]

mod access_control;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod example;
mod file;
mod ice_servers;
#[path = "../common/process.rs"]
mod process;
mod secrets;
mod sources;
mod values;

use std::process::Output;

use process::sigver;

/// Returns the output of `--print-config`.
async fn print(args: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = sigver(args);
    let output = command.arg("--print-config").envs(variables.iter().copied()).output().await.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs `--check-config` and returns its error.
async fn check(args: &[&str], variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = sigver(args);
    let output = command.arg("--check-config").envs(variables.iter().copied()).output().await.expect("it starts");
    let Output { status, stdout, stderr } = output;
    let error = String::from_utf8(stderr).expect("UTF-8");
    match status.code() {
        Some(0) => {
            assert_eq!((&*stdout, &*error), (&b"The configuration is valid\n"[..], ""));
            Ok(())
        }
        Some(1) => {
            assert!(stdout.is_empty() && error.starts_with("sigver: "), "{error}");
            Err(error)
        }
        _ => panic!("{error}"),
    }
}

/// Checks that the server rejects these options with one line that contains these words.
async fn rejects(args: &[&str], words: &[&str]) {
    let error = check(args, &[]).await.expect_err("an invalid setting");
    assert_eq!(error.lines().count(), 1, "{error}");
    for word in words {
        assert!(error.contains(word), "{error:?} does not contain {word:?}");
    }
}
