//! Fuzzes the part of a URL below the mount. `cargo +nightly fuzz run url`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::url(bytes));
