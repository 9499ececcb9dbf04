//! A WebRTC signaling hub.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod hub;
pub mod protocol;
mod transport;

pub use adapter::memory;
pub use hub::{ConfigError, Ending, HubBuilder, Opening, SignalingHub, Stats};
pub use transport::{CloseFrame, Frame, Transport, TransportError};
