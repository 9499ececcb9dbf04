//! Fuzzes one batch of records between nodes. `cargo +nightly fuzz run records`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::records(bytes));
