//! Adapters: each converts a framework's WebSocket into a [`Transport`](crate::Transport) and passes it to the hub.
//!
//! They translate and delegate. All adapters must behave the same; one contract test runs over all of them.

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "hyper")]
mod cors;
#[cfg(feature = "hyper")]
mod frame_limiter;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "turn")]
mod ice_servers;
pub mod memory;
#[cfg(feature = "hyper")]
mod upgrade;
#[cfg(feature = "warp")]
pub mod warp;
#[cfg(feature = "hyper")]
mod websocket;
