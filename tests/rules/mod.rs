//! What holds whatever comes in. `properties.rs`, `corpus.rs` and the targets of `fuzz` all ask this.

mod group;
mod key;
mod model;
mod session;
mod url;
mod wire;

pub(crate) use group::{History, Step, group};
pub(crate) use key::{escaped, key};
pub(crate) use session::session;
pub(crate) use url::url;
pub(crate) use wire::wire;
