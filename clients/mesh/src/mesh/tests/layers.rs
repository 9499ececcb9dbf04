//! The mesh is free of I/O, and nothing but the driver knows the WebRTC engine.

use std::fs;
use std::path::{Path, PathBuf};

/// The source files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn mesh_knows_neither_the_engine_nor_the_runtime() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_test = |path: &PathBuf| path.iter().any(|part| part == "tests" || part == "testing");
    let mesh: Vec<_> = files(&source.join("mesh")).into_iter().filter(|path| !is_test(path)).collect();
    assert!(mesh.len() > 10);
    for path in mesh {
        let text = fs::read_to_string(&path).expect("a source file");
        let text = text.split("#[cfg(test)]\nmod tests {").next().expect("text");
        for foreign in ["str0m::", "tokio", "crate::driver", "crate::hub", "crate::group", "Instant::now", "async "] {
            assert!(!text.contains(foreign), "{} contains {foreign}", path.display());
        }
    }
}

#[test]
fn only_the_driver_and_the_settings_know_the_engine() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in files(&source) {
        let name = path.strip_prefix(&source).expect("below src").display().to_string();
        let allowed = name.starts_with("driver") || ["group.rs", "options.rs"].contains(&name.as_str());
        let text = fs::read_to_string(&path).expect("a source file");
        assert!(allowed || name.contains("tests") || !text.contains("str0m::"), "{name}");
    }
}
