//! A native peer of the meshes that browsers form with `sigver-client`.

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
