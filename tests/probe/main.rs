//! `sigver probe` as its operator uses it.

#![cfg(all(feature = "cli", unix))]

#[path = "../common/mod.rs"]
mod common;
mod connection;
mod health_check;
mod options;
#[path = "../common/process.rs"]
mod process;
mod protocol;
mod proxies;
mod servers;
mod tls;
mod two_urls;

use process::run;

/// Runs the probe. Returns its exit code and its output: a line for each check, and the result.
async fn probe(args: &[&str]) -> (i32, String) {
    let output = run(&[&["probe"], args].concat()).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it exits"), String::from_utf8(text).expect("UTF-8"))
}

/// Checks that the probe passes, and that it skips exactly the checks `skipped`.
async fn passes(args: &[&str], skipped: &[&str]) -> String {
    let (code, output) = probe(args).await;
    assert_eq!(code, 0, "{output}");
    let passed = output.lines().filter(|line| line.contains(" ok ")).count();
    assert_eq!(output.lines().last(), Some(&*format!("ok: {passed} passed, {} skipped", skipped.len())), "{output}");
    let found: Vec<_> = output.lines().filter_map(|line| Some(line.split_once(" skipped  ")?.0.trim())).collect();
    assert_eq!(found, skipped, "{output}");
    output
}

/// Checks that this check fails, and that its line contains these words.
async fn fails(args: &[&str], check: &str, words: &[&str]) -> String {
    let (code, output) = probe(args).await;
    assert_eq!(code, 1, "{output}");
    assert!(output.lines().last().is_some_and(|line| line.starts_with("FAILED: ")), "{output}");
    let line = output.lines().find(|line| line.split_once(" FAILED ").is_some_and(|(name, _)| name.trim() == check));
    let line = line.unwrap_or_else(|| panic!("{check} did not fail: {output}"));
    for word in words {
        assert!(line.contains(word), "{line:?} does not contain {word:?}");
    }
    output
}
