//! Test oracles: checks that hold for any input bytes. `properties.rs`, `corpus.rs` and the targets of `fuzz` use them.

#[cfg(feature = "cli")]
pub(crate) mod config;
pub(crate) mod group;
pub(crate) mod key;
mod naive_model;
#[cfg(feature = "cluster")]
pub(crate) mod records;
#[cfg(feature = "client")]
pub(crate) mod response;
pub(crate) mod session;
pub(crate) mod url;
pub(crate) mod wire;
