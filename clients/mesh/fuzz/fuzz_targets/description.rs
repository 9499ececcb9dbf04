//! Descriptions and candidates of other peers, with the WebRTC engine.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sigver_mesh::fuzzing::description(input));
