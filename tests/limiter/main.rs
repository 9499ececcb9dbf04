//! The connection limiter in front of an axum app, with hyper-util's server for HTTP/1.1 and HTTP/2.

#![cfg(all(feature = "axum", feature = "client", feature = "http2"))]

mod flood;
mod http1;
mod http2;
#[path = "../common/log.rs"]
mod log;
mod server;
#[path = "../common/websocket.rs"]
mod websocket;
