//! Replays what the fuzz targets begin with: each file of `fuzz/corpus` keeps the rule of its folder's name.

use std::fs;
use std::path::Path;

mod rules;

type Rule = fn(&[u8]);

const TARGETS: &[(&str, Rule)] = &[
    #[cfg(feature = "cli")]
    ("config", rules::config::check),
    ("group", rules::group::check),
    ("key", rules::key::check),
    ("session", rules::session::check),
    ("url", rules::url::check),
    ("wire", rules::wire::check),
];

/// What is in a folder of `fuzz`, sorted.
fn names(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn each_file_of_the_corpus_keeps_the_rule_of_its_target() {
    for &(target, rule) in TARGETS {
        let folder = format!("corpus/{target}");
        let files = names(&folder);
        assert!(!files.is_empty(), "{folder} has no files");
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(&folder).join(&file);
            let bytes = fs::read(&path).expect("it can be read");
            let kept = std::panic::catch_unwind(|| rule(&bytes));
            assert!(kept.is_ok(), "{folder}/{file} breaks the rule, see above");
        }
    }
}

// The settings are the stand-alone server's.
#[cfg(feature = "cli")]
#[test]
fn each_fuzz_target_has_a_corpus_that_is_replayed() {
    let known: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
    assert_eq!(names("corpus"), known);
    let targets: Vec<_> = known.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names("fuzz_targets"), targets);
}
