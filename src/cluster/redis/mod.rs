//! Redis as the engine of a cluster.
//!
//! - [`builder`] has the settings, [`url`](mod@url) reads the URL, and [`backplane`] implements the calls. [`inbox`] reads
//!   inboxes, and [`check`] compares the configuration of the engine with what the backplane needs.
//! - [`client`] sends a call to the server that has its key. [`routes`] and [`sentinel`] know that server, and
//!   [`connection`] opens and keeps connections to each [`address`].
//! - [`script`] contains the Lua scripts, which apply the rules in `cluster/memory/engine.rs`. [`codec`] writes their
//!   arguments and reads their replies. [`error`] writes the texts of errors.
//!
//! The crate `redis` contributes the protocol and connections that many calls share. Its clients for Redis Cluster and
//! Sentinel are not used: they repeat a command whose reply was lost, which may apply a step twice. Its TLS uses the
//! default crypto provider of the process, which an app may lack.

mod address;
mod backplane;
mod builder;
mod check;
mod client;
mod codec;
mod connection;
mod error;
mod inbox;
mod routes;
mod script;
mod sentinel;
#[cfg(test)]
mod tests;
mod url;

pub use backplane::RedisBackplane;
pub use builder::{RedisBackplaneBuilder, RedisConfigError};
