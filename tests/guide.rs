//! The guide's table of limits matches the hub, and no document of the package contains a dead link.

use std::fs;
use std::path::{Component, Path, PathBuf};

use sigver::{Cause, SignalingHub};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LIMITS: &str = include_str!("../src/guide/limits.md");

/// Returns the value of a limit in the form that the table uses.
fn table_cell(name: &str, value: &str) -> String {
    if value == "None" {
        return "none".to_owned();
    }
    let Ok(number) = value.parse::<u64>() else {
        // `Duration::ZERO` is printed in nanoseconds.
        return value.strip_suffix("ns").or(value.strip_suffix('s')).expect("a time in seconds").to_owned() + " s";
    };
    for (unit, bytes) in [("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if name.contains("bytes") && number % bytes == 0 {
            return format!("{} {unit}", number / bytes);
        }
    }
    match number {
        10_000.. => format!("{} {:03}", number / 1000, number % 1000),
        _ => number.to_string(),
    }
}

#[test]
fn limits_table_lists_every_setting_with_its_default() {
    let hub = format!("{:?}", SignalingHub::new());
    let (_, config) = hub.split_once("Config { ").expect("the hub's Debug output contains its settings");
    let settings = config.split(" }").next().expect("split returns at least one part").split(", ");
    let mut count = 0;
    for setting in settings {
        let (name, value) = setting.split_once(": ").expect("a name and a value");
        let row = format!("| `{name}` | {} |", table_cell(name, value));
        assert!(LIMITS.contains(&row), "src/guide/limits.md has no row {row:?}");
        count += 1;
    }
    assert!(count >= 20, "the hub's Debug output has {count} settings; must be at least 20");
}

#[test]
fn every_limit_with_a_close_code_is_a_cause() {
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    let mut count = 0;
    for row in LIMITS.lines().filter(|row| row.starts_with("| `") && row.ends_with(" |")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        // The cause of `admission_timeout` is `admission`.
        let code = cells.get(4).and_then(|cell| cell.split(' ').next());
        if cells.len() == 6 && code.is_some_and(|code| code.parse::<u16>().is_ok()) && name != "admission_timeout" {
            assert!(causes.contains(&name), "{name} is not the name of a cause");
            count += 1;
        }
    }
    assert!(count >= 10, "src/guide/limits.md has {count} rows with a close code; must be at least 10");
}

/// Returns the Markdown files below `folder` that are part of the package.
fn packaged_documents(folder: &Path, excluded: &[PathBuf]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let paths = entries.map(|entry| entry.expect("the entry is readable").path());
    let mut documents = Vec::new();
    for path in paths.filter(|path| is_packaged(path, excluded)) {
        if path.is_dir() {
            documents.extend(packaged_documents(&path, excluded));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    documents
}

fn is_packaged(path: &Path, excluded: &[PathBuf]) -> bool {
    let Ok(path) = path.strip_prefix(ROOT) else { return false };
    let is_build_output =
        path.components().any(|part| part.as_os_str() == "target" || part.as_os_str() == "node_modules");
    !is_build_output && !excluded.iter().any(|excluded| path.starts_with(excluded))
}

/// Removes `.` and `..` from a path without a look at the file system.
fn normalize(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = normal.pop(),
            part => normal.push(part),
        }
        normal
    })
}

#[test]
fn relative_links_lead_to_files_of_the_package() {
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).expect("the manifest is readable");
    let list = manifest.split_once("\nexclude = [").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.map_or("", |(list, _)| list);
    let excluded: Vec<_> = list.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
    let mut count = 0;
    for document in packaged_documents(Path::new(ROOT), &excluded) {
        let text = fs::read_to_string(&document).expect("the document is UTF-8");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or_default();
            let file = normalize(&document.parent().expect("a file has a folder").join(file));
            let (document, is_live) = (document.display(), file.exists() && is_packaged(&file, &excluded));
            assert!(is_live, "{document} links to {target}, which is not part of the package");
            count += 1;
        }
    }
    assert!(count >= 10, "found {count} relative links; must be at least 10");
}
