//! The doors: each turns somebody's socket into a [`Transport`](crate::Transport) and hands it to the hub.
//!
//! They translate and delegate, and decide nothing. Two that behave differently are a bug.

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "hyper")]
mod frame_limiter;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod memory;
#[cfg(feature = "hyper")]
mod upgrade;
#[cfg(feature = "warp")]
pub mod warp;
#[cfg(feature = "hyper")]
mod websocket;
