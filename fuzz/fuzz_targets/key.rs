//! Fuzzes percent-encoded group keys. `cargo +nightly fuzz run key`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::key(bytes));
