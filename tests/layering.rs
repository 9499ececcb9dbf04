//! Imports point inward only: adapter -> hub -> {protocol, transport}. `protocol` knows nobody.

use std::fs;
use std::path::{Path, PathBuf};

/// What each part may import of the crate, and which of the crates that only some parts may know.
const PARTS: [(&str, &[&str], &[&str]); 4] = [
    ("protocol", &["protocol"], &[]),
    ("transport", &["transport"], &["tokio_test"]),
    ("hub", &["hub", "protocol", "transport"], &["tokio", "tokio_test", "tracing", "fastrand"]),
    (
        "adapter",
        &[
            "adapter",
            "hub",
            "protocol",
            "transport",
            "Admission",
            "Entrance",
            "JoinRequest",
            "SignalingHub",
            "Transport",
            "JoinRequest",
        ],
        &["tokio", "tokio_test", "tracing"],
    ),
];

/// Who else may know a crate, by file.
const FRAMEWORKS: [(&str, &[&str]); 8] = [
    ("axum", &["adapter/axum.rs"]),
    ("warp", &["adapter/warp.rs"]),
    ("hyper", &["adapter/hyper.rs", "adapter/upgrade.rs", "adapter/warp.rs"]),
    ("metrics", &["hub/meters.rs"]),
    ("http", &["hub/entrance/proxies.rs", "hub/entrance/request.rs"]),
    ("hyper_util", &["adapter/upgrade.rs"]),
    ("hyper_tungstenite", &["adapter/hyper.rs", "adapter/upgrade.rs", "adapter/websocket.rs"]),
    ("http_body_util", &["adapter/hyper.rs"]),
];

/// What the protocol has no use for: the clock, locks and tasks.
const IMPURE: [&str; 6] = ["Instant", "SystemTime", "std::thread", "Mutex", "Atomic", "async"];

/// A test, which explores on all cores.
const MODEL: &str = "protocol/explore.rs";

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The first names of what a file's code imports, outside of comments: `crate::hub`, `tokio`, `std`.
fn imports(code: &str) -> Vec<String> {
    let word =
        |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if let Some(path) = line.strip_prefix("use ") {
            let path = path.trim_start_matches("::");
            match path.strip_prefix("crate::") {
                None => found.push(word(path)),
                Some(inner) => {
                    // Several at once look like `use crate::{JoinRequest, SignalingHub};`
                    let names = inner.strip_prefix('{').map_or(vec![inner], |names| names.split(", ").collect());
                    found.extend(names.into_iter().map(|name| format!("crate::{}", word(name))));
                }
            }
        } else {
            found.extend(line.match_indices("crate::").map(|(at, _)| format!("crate::{}", word(&line[at + 7..]))));
        }
    }
    found
}

#[test]
fn imports_point_inward_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let restricted: Vec<_> = PARTS.iter().flat_map(|(_, _, crates)| *crates).collect();
    let mut checked = 0;
    for (part, inner, crates) in PARTS {
        for file in sources(&root.join(part)) {
            let code = fs::read_to_string(&file).expect("it can be read");
            let name = file.strip_prefix(&root).expect("below src").display().to_string();
            for import in imports(&code) {
                checked += 1;
                if let Some(inside) = import.strip_prefix("crate::") {
                    assert!(inner.contains(&inside), "{name} imports {import}: {part} may know {inner:?}");
                }
                if restricted.contains(&&&*import) {
                    assert!(crates.contains(&&*import), "{name} imports {import}: {part} may know {crates:?}");
                }
                if let Some((_, files)) = FRAMEWORKS.iter().find(|(framework, _)| *framework == import) {
                    assert!(files.contains(&&*name), "{name} imports {import}: only {files:?} may");
                }
            }
            // What comes before a file's own tests, comments apart.
            let shipped = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let shipped = shipped.lines().filter(|line| !line.trim_start().starts_with("//"));
            let mut words = shipped.flat_map(|line| IMPURE.iter().filter(move |word| line.contains(**word)));
            assert!(
                part != "protocol" || name == MODEL || words.next().is_none(),
                "{name} has one of {IMPURE:?}: the protocol decides, and leaves when to the hub"
            );
        }
    }
    assert!(checked > 100, "{checked}: the imports were not found");
}
