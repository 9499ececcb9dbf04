//! Entry points of the fuzz targets in `fuzz/`.

use crate::driver::fuzz_engine;
use crate::mesh::testing::fuzz_mesh;

/// Feeds a mesh with signals, control messages, pieces and answers of the hub. Each line of the input is one of them.
pub fn mesh(input: &[u8]) {
    fuzz_mesh(input);
}

/// Feeds two engines with a description, in both roles, and with candidates.
pub fn description(input: &[u8]) {
    if let Ok(sdp) = std::str::from_utf8(input) {
        fuzz_engine(sdp);
    }
}
