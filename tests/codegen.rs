//! The committed code in `src/protocol/wire/generated.rs` matches `proto/sigver.proto`.
//!
//! To update it after a change of the schema: `UPDATE_EXPECT=1 cargo test --features codegen --test codegen`

#![cfg(feature = "codegen")]

use std::{env, fs};

/// What `build.rs` generated in this build.
const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/sigver.rs"));
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/protocol/wire/generated.rs");

#[test]
fn committed_code_matches_the_schema() {
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(COMMITTED, GENERATED).expect("the source folder is writable");
    }
    let committed = fs::read_to_string(COMMITTED).expect("the committed code exists");
    assert!(
        committed == GENERATED,
        "src/protocol/wire/generated.rs is out of date; \
        run `UPDATE_EXPECT=1 cargo test --features codegen --test codegen`"
    );
}
