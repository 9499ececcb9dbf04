//! A WebRTC signaling hub that an existing Rust HTTP server mounts at any path.
//!
//! Two browsers that want a direct connection first need somebody to carry their offers, answers and candidates.
//! That is all that a [`SignalingHub`] does: peers with one key form a group, and it tells each newcomer whom to signal
//! with. It speaks the wire protocol of npm's `sigver` 20.1.0, so that the published client Netflux works unmodified.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use sigver::{SignalingHub, memory};
//!
//! let hub = SignalingHub::new();
//! let mut alice = memory::join(&hub, "a key that both know");
//! let mut bob = memory::join(&hub, "a key that both know");
//!
//! assert!(alice.connect(1, &[]).await); // Alice is the first member.
//! assert!(!bob.connect(2, &[]).await); // Bob is bound to her, and signals:
//! bob.send_content(0, "offer").await;
//! let (link, offer) = alice.recv_content().await;
//! assert_eq!(offer, "offer");
//! # }
//! ```
//!
//! # Parts
//!
//! - [`SignalingHub`] is when things happen: groups by key, one future for each peer, bounded queues, heartbeats. It is
//!   a cheap clone, and owns no listener, runtime or task. [`HubBuilder`] has the limits.
//! - [`Admission`] and [`JoinRequest`] are who may come in; [`Cause`] is what turned a peer away.
//! - [`HubEvent`], [`GroupSnapshot`] and [`HubStats`] are what the owner of a hub sees.
//! - [`Transport`] is what it needs of a socket: a stream and a sink of [`Frame`]s. Any is good.
//! - [`protocol`] is what the protocol decides, without I/O: a group is a function from events to actions.
//! - [`memory`] has peers without a network, for tests.
//! - `sigver::axum`, `sigver::hyper` and `sigver::warp` mount the hub, each behind the feature of its name.
//! - `sigver::guide`, in the documentation of all features, is what to know before a hub is run in public.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | none, the default | the hub, [`protocol`], [`memory`]: no HTTP crate |
//! | `hyper` | `sigver::hyper`: a service, and `upgrade` for one written by hand |
//! | `axum` | `sigver::axum`: `handler` and `router` |
//! | `warp` | `sigver::warp`: a filter |
//! | `http2` | WebSockets over HTTP/2 in axum and hyper servers that speak it |
//! | `metrics` | what happens, for the `metrics` facade |
//! | `signed-keys` | `SignedKeys`: keys that expire, signed with HMAC-SHA256 |
//! | `cli` | the stand-alone server `sigver` |
//! | `full` | all of these |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod hub;
pub mod protocol;
mod transport;

/// Running a hub in public.
#[cfg(all(doc, feature = "full"))]
#[doc = include_str!("guide.md")]
pub mod guide {}
#[cfg(feature = "axum")]
pub use adapter::axum;
#[cfg(feature = "hyper")]
pub use adapter::hyper;
pub use adapter::memory;
#[cfg(feature = "warp")]
pub use adapter::warp;
#[cfg(feature = "hyper")]
pub use hub::ClientIpHeader;
#[cfg(feature = "signed-keys")]
pub use hub::SignedKeys;
pub use hub::{Admission, JoinRequest, PeerInfo, Permit, Rejection};
pub use hub::{Cause, CauseCounts, HubStats};
pub use hub::{ConfigError, HubBuilder, SignalingHub};
pub use hub::{DisconnectReason, GroupSnapshot, HubEvent, PeerSnapshot};
pub use protocol::{CloseCode, GroupKey};
pub use transport::{CloseFrame, Frame, Transport, TransportError};

/// The README's snippets compile.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;
