//! Replays the seed corpus of the fuzz target `mesh`.

use crate::mesh::testing::fuzz_mesh;

#[test]
fn every_corpus_file_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/mesh");
    let entries: Vec<_> = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("a file")).collect();
    assert!(!entries.is_empty());
    for entry in entries {
        fuzz_mesh(&std::fs::read(entry.path()).expect("a readable file"));
    }
}
