//! The guide's table of limits matches the hub, no document of the package contains a dead link, and the code of examples
//! fits the width of a page.

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

/// The width of code blocks on docs.rs, in characters.
const MAX_EXAMPLE_WIDTH: usize = 100;

/// Returns the visible lines of the Rust examples in a document, or in the doc comments of a source file.
fn example_lines(text: &str, is_source: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut is_rust = None;
    for full in text.lines() {
        let comment = full.trim_start();
        let comment = comment.strip_prefix("//!").or(comment.strip_prefix("///"));
        let comment = comment.map(|line| line.strip_prefix(' ').unwrap_or(line));
        let Some(line) = (if is_source { comment } else { Some(full) }) else {
            // An attribute with a condition can open a block, too.
            is_rust = full.contains("doc = \"```").then_some(true);
            continue;
        };
        match (line.strip_prefix("```"), is_rust) {
            (Some(language), None) => is_rust = Some(["", "no_run", "rust", "ignore"].contains(&language)),
            (Some(_), Some(_)) => is_rust = None,
            (None, Some(true)) if line != "#" && !line.starts_with("# ") => lines.push(line),
            (None, _) => {}
        }
    }
    lines
}

#[test]
fn code_of_examples_is_at_most_100_characters_wide() {
    fn read(folder: &Path, wide: &mut Vec<String>, count: &mut usize) {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the entry is readable").path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if path.is_dir() {
                read(&path, wide, count);
            } else if matches!(extension, "rs" | "md") {
                let text = fs::read_to_string(&path).expect("the document is UTF-8");
                let lines = example_lines(&text, extension == "rs");
                *count += lines.len();
                let lines = lines.into_iter().filter(|line| line.chars().count() > MAX_EXAMPLE_WIDTH);
                wide.extend(lines.map(|line| format!("{}: {line}", path.display())));
            }
        }
    }
    let (mut wide, mut count) = (Vec::new(), 0);
    read(&Path::new(ROOT).join("src"), &mut wide, &mut count);
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("the document is UTF-8");
    let readme = example_lines(&readme, false).into_iter().filter(|line| line.chars().count() > MAX_EXAMPLE_WIDTH);
    wide.extend(readme.map(|line| format!("README.md: {line}")));
    assert_eq!(wide, [""; 0]);
    assert!(count >= 300, "found {count} lines of examples; must be at least 300");
}

#[test]
fn example_lines_are_those_of_rust_blocks_without_hidden_lines() {
    let source = "#![cfg_attr(feature = \"axum\", doc = \"```no_run\")]\n//! first\n//! ```\n/// text\n\
        /// ```\n/// # hidden\n/// #[shown]\n/// ```\n/// ```text\n/// other\n/// ```\n\
        fn code() {}\n    //! ```no_run\n    //! last\n";
    assert_eq!(example_lines(source, true), ["first", "#[shown]", "last"]);
    assert_eq!(example_lines("text\n```sh\nls\n```\n```\nlet a;\n```\n", false), ["let a;"]);
}
