//! A WebRTC signaling hub.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod hub;
pub mod protocol;
mod transport;

#[cfg(feature = "axum")]
pub use adapter::axum;
#[cfg(feature = "hyper")]
pub use adapter::hyper;
pub use adapter::memory;
#[cfg(feature = "warp")]
pub use adapter::warp;
pub use hub::{ConfigError, Ending, HubBuilder, Opening, SignalingHub, Stats};
pub use transport::{CloseFrame, Frame, Transport, TransportError};
