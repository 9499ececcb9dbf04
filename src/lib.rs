//! A WebRTC signaling hub.
pub mod protocol;
