//! Input of other peers and of the hub: no panic, and no limit is exceeded.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sigver_mesh::fuzzing::mesh(input));
