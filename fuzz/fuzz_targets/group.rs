//! Fuzzes the events of a group. `cargo +nightly fuzz run group`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::group(bytes));
