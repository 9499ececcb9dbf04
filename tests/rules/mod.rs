//! What holds whatever comes in: `properties.rs`, `corpus.rs` and the targets of `fuzz` ask for it by bytes.

#[cfg(feature = "cli")]
pub(crate) mod config;
pub(crate) mod group;
pub(crate) mod key;
mod model;
pub(crate) mod session;
pub(crate) mod url;
pub(crate) mod wire;
