//! What the protocol decides: plain synchronous Rust without a clock, randomness, a lock, a socket or a log.
//!
//! A peer's bytes go through its [`Session`], which turns them into [`Request`]s. A [`Group`] takes each request as
//! an [`Event`] and answers with [`Action`]s. The two never reach into each other, so they may live apart. Time and
//! fresh [`LinkId`]s come in as values; whoever calls decides when things happen.
//!
//! [`crate::SignalingHub`] is the caller that most apps want. This module is public for those who need another one,
//! and for whoever wants to read or test the rules without a runtime:
//!
//! ```
//! use sigver::protocol::{Action, Event, Group, LinkId, MemberId, Message, PeerId};
//!
//! let mut group = Group::new();
//! let mut actions = Vec::new();
//! let [alice, bob] = [PeerId(1), PeerId(2)];
//!
//! for (peer, id, link) in [(alice, 10, 1), (bob, 20, 2)] {
//!     group.handle(Event::Join { peer, favored: false }, &mut actions);
//!     let fresh = LinkId::new(link).expect("31 bits, not 0");
//!     group.handle(Event::Connect { peer, id: MemberId(id), members: vec![], fresh, now: std::time::Duration::ZERO }, &mut actions);
//! }
//!
//! let answers: Vec<_> = actions
//!     .into_iter()
//!     .filter_map(|action| match action {
//!         Action::Send { to, message: Message::Connected(admitted) } => Some((to, admitted)),
//!         _ => None,
//!     })
//!     .collect();
//! assert_eq!(answers, [(alice, true), (bob, false)]); // Alice is in; Bob is bound to her and signals next.
//! ```

mod close;
mod group;
mod id;
mod key;
mod members;
#[cfg(test)]
mod model;
mod session;
mod wire;

pub use close::{AppCode, CloseCode};
pub use group::{Action, Event, Group, Standing};
pub use id::{LinkId, MemberId, PeerId};
pub use key::{GroupKey, KeyError, MAX_KEY_BYTES};
pub use session::{Fault, Request, Session};
pub use wire::{Message, WireError};
