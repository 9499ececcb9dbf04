//! Fuzzes the configuration file of the standalone server. `cargo +nightly fuzz run config`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::config(bytes));
