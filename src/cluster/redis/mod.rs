//! Redis as the engine of a cluster.

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
