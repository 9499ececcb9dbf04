//! The rules of the protocol: synchronous Rust without a clock, randomness, locks, sockets or logging.
//!
//! A peer's bytes go through its [`Session`], which turns them into [`Request`]s. A [`Group`] applies each request as
//! an [`Event`] and returns [`Action`]s. Sessions and groups are independent of each other, so they can run on
//! different threads. Time and new [`LinkId`]s are inputs.
//!
//! Most apps use [`crate::SignalingHub`], which drives this module. The module is public for apps that need a driver of
//! their own, and for tests of the rules without a runtime:
//!
//! ```
//! use std::time::Duration;
//!
//! use sigver::protocol::{Event, Group, LinkId, MemberId, Outcome, PeerId};
//!
//! let mut group = Group::new();
//! let mut actions = Vec::new();
//! let mut join = |peer, id, link| {
//!     group.handle(Event::Join { peer, favored: false }, &mut actions);
//!     let new_link = LinkId::new(link).expect("31 bits, not 0");
//!     let connect = Event::Connect { peer, id: MemberId(id), members: vec![], new_link, now: Duration::ZERO };
//!     group.handle(connect, &mut actions)
//! };
//!
//! // Alice becomes the first member. Bob is bound to her.
//! assert_eq!(join(PeerId(1), 10, 1), Outcome::Answered { member: true });
//! assert_eq!(join(PeerId(2), 20, 2), Outcome::Answered { member: false });
//! ```

// A group imports in one direction: members (the list and its order) <- search (what one joiner has tried) <- decide
// (rules 1 to 5) <- group (the reducer, with the links).
mod close;
mod decide;
mod event;
#[cfg(test)]
mod explore;
mod group;
mod id;
mod key;
mod members;
mod search;
mod session;
mod wire;

pub use close::{AppCode, CloseCode};
pub use event::{Action, Event, Outcome};
pub use group::{Group, PeerRoles};
pub use id::{LinkId, MemberId, PeerId};
pub use key::{GroupKey, KeyError, MAX_KEY_BYTES};
pub use session::{Request, Session, SessionError};
pub use wire::{Message, WireError};
