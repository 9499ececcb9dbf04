//! The commented file of settings in `examples/deploy`.

use crate::check;
use crate::process::{utf8, write};

const EXAMPLE: &str = include_str!("../../examples/deploy/sigver.toml");

/// Returns the example without the `#` in front of its settings, but for lines that contain one of these words.
fn uncommented(except: &[&str]) -> String {
    let is_setting = |text: &str| text.starts_with(|first: char| first.is_ascii_lowercase());
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(text) if is_setting(text) && !except.iter().any(|word| text.contains(word)) => text,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn example_is_valid_with_and_without_its_settings() {
    // The files do not exist, a user and the ICE servers require them, and the URL names no Sentinels.
    let settings = uncommented(&["/etc/sigver/", "user = ", "sentinel", "ice_servers = "]);
    assert!(settings.contains("\nmax_peers = ") && settings.contains("\nurl = "), "{settings}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for text in [EXAMPLE, &settings] {
        let file = write(folder.path(), "sigver.toml", text);
        assert_eq!(check(&["--config", utf8(&file)], &[]).await, Ok(()), "{text}");
    }
}
