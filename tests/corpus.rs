//! Replays the seed corpus of the fuzz targets: each file in `fuzz/corpus` passes the oracle named by its folder.

use std::fs;
use std::path::Path;

mod oracle;
// For the source of the records, which the oracle includes by path.
#[cfg(feature = "cluster")]
use sigver::protocol;

type Check = fn(&[u8]);

const TARGETS: &[(&str, Check)] = &[
    #[cfg(feature = "cli")]
    ("config", oracle::config::check),
    ("group", oracle::group::check),
    ("key", oracle::key::check),
    #[cfg(feature = "cluster")]
    ("records", oracle::records::check),
    #[cfg(feature = "client")]
    ("response", oracle::response::check),
    ("session", oracle::session::check),
    ("url", oracle::url::check),
    ("wire", oracle::wire::check),
];

/// Returns the names of all entries in a folder of `fuzz`, sorted.
fn names(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("a readable entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn every_corpus_file_passes_the_oracle_of_its_target() {
    for &(target, check) in TARGETS {
        let folder = format!("corpus/{target}");
        let files = names(&folder);
        assert!(!files.is_empty(), "{folder} has no files");
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(&folder).join(&file);
            let bytes = fs::read(&path).expect("a readable file");
            let passed = std::panic::catch_unwind(|| check(&bytes));
            assert!(passed.is_ok(), "{folder}/{file} fails its oracle, see the panic above");
        }
    }
}

// The target `config` needs the settings of the standalone server, `records` the cluster, and `response` the client,
// which the standalone server includes.
#[cfg(all(feature = "cli", feature = "cluster"))]
#[test]
fn every_fuzz_target_has_a_corpus_that_is_replayed() {
    let known: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
    assert_eq!(names("corpus"), known);
    let targets: Vec<_> = known.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names("fuzz_targets"), targets);
}
