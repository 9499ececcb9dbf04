//! Fuzzes the server's response to the handshake of a client. `cargo +nightly fuzz run response`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigver_fuzz::response(bytes));
