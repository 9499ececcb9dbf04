//! Fuzzes the messages of one peer. `cargo +nightly fuzz run session`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::session(bytes));
