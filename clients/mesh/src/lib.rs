//! A native peer for the WebRTC meshes that browsers form with `sigver-client`: bots, servers and command-line tools that
//! exchange messages with pages, and with each other.
//!
//! ```no_run
//! use sigver_mesh::{Event, Group, Options};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let group = Group::join("https://example.org/signal", "tea-room", Options::default()).await?;
//! group.send(None, "hello, everyone").await?;
//! while let Some(event) = group.recv().await {
//!     match event {
//!         Event::PeerJoin { peer, .. } => println!("{peer} joined"),
//!         Event::Message { from, data, .. } => println!("{from}: {data:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! All peers with the same key form a group: a full mesh of encrypted data channels. A peer makes its first connection
//! through a [sigver] hub, and finds all other peers through its neighbours. The mesh keeps working while the hub is
//! unreachable. [`Group::join`] connects again whenever the hub returns.
//!
//! # Parts
//!
//! - [`Group`] is the handle: [`recv`](Group::recv) returns [`Event`]s, [`send`](Group::send) sends a [`Payload`] to one
//!   peer or to all. A task of tokio runs the group.
//! - [`Options`] has the settings. [`Key`] is a text, or a function for keys that expire.
//!   [`ChannelOptions`] creates further channels, for example unordered ones without retransmissions.
//! - [`PeerInfo`] describes a connected peer, with the fingerprint that it has proven.
//!
//! The protocol is implemented without I/O, clock and randomness, and runs the test vectors of `clients/MESH.md` in the
//! repository. WebRTC is that of str0m.
//!
//! # Limits
//!
//! - *No STUN and TURN.* str0m does not gather such candidates ([str0m#723]). Other peers reach this one at the addresses
//!   of its network interfaces, or at [`Options::advertised_address`]. Behind a NAT, it reaches only peers with a public
//!   address or a TURN server, and peers in its own network.
//! - *No media.* Cameras and microphones of browsers are answered as inactive: the browser sends nothing to this peer.
//! - *No mDNS.* The names (`.local`) that browsers send in place of their addresses are not resolved. The browser reaches
//!   this peer, so this matters only if this peer is behind a NAT that the browser cannot pass.
//! - A full mesh suits small groups: [`Options::max_peers`] is 64 by default.
//!
//! # Logging
//!
//! The crate logs with [`tracing`]. At the level `warn`, it reports that the hub is unreachable, with the cause, and
//! that a key function fails; at `info`, that the hub is reachable again. [`Group::join`] keeps trying and returns no
//! error for this, so a program should install a subscriber, for example `tracing_subscriber::fmt::init()`.
//!
//! # Trust
//!
//! Every peer with the key can join the group, and messages between two peers are encrypted. The first peer that
//! connects with an id owns it. Its certificate's fingerprint proves that later connections come from the same peer.
//! The hub could put itself between two peers that have never met. To exclude this, compare [`PeerInfo::fingerprint`]
//! with [`Group::fingerprint`] of the other peer over another channel. Metadata and messages are untrusted input.
//!
//! A panic inside the WebRTC engine, for example after hostile input, ends one connection. This needs the default
//! `panic = "unwind"`.
//!
//! [sigver]: https://docs.rs/sigver
//! [str0m#723]: https://github.com/algesten/str0m/issues/723

mod driver;
mod error;
mod event;
#[cfg(feature = "__fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod hub;
mod id;
mod mesh;
mod options;
mod payload;

pub use error::{JoinError, OptionsError, SendError};
pub use event::{Close, Event, LeaveReason, Reason, State};
pub use group::{Group, PeerInfo};
pub use id::PeerId;
pub use options::{ChannelOptions, Key, Options};
pub use payload::Payload;
