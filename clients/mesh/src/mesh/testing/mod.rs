//! Support for tests and fuzzing: a mesh alone, and simulated groups.

mod fuzz;
mod lone;
#[cfg(test)]
mod script;
#[cfg(test)]
mod world;

pub(crate) use fuzz::fuzz_mesh;
pub(crate) use lone::Lone;
#[cfg(test)]
pub(crate) use script::{LARGE, SMALL, offer, offer_to};
#[cfg(test)]
pub(crate) use world::World;

use crate::mesh::Config;

/// A certificate fingerprint made of one byte.
pub(crate) fn fingerprint(byte: u8) -> String {
    vec![format!("{byte:02X}"); 32].join(":")
}

pub(crate) fn sdp(byte: u8) -> String {
    format!("v=0\r\na=fingerprint:sha-256 {}\r\n", fingerprint(byte))
}

pub(crate) fn config() -> Config {
    Config { metadata: None, max_peers: 64, channels: Vec::new(), renewable_key: false }
}
