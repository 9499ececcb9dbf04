//! Fuzzes one binary message. `cargo +nightly fuzz run wire`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::wire(bytes));
