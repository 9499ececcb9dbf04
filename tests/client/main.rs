//! `client::join` and `Connector`: joins over TCP, TLS and byte streams, and servers that misbehave.

#![cfg(all(feature = "client", feature = "hyper"))]

mod cancellation;
mod close_codes;
mod frames;
mod join;
mod rejections;
mod responses;
mod servers;
mod settings;
mod tls;
