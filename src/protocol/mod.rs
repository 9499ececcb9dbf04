//! The rules of the protocol: synchronous Rust without a clock, randomness, locks, sockets or logging.
//!
//! A peer's bytes go through its [`Session`], which turns them into [`Request`]s. A [`Group`] applies each request as
//! an [`Event`] and returns [`Action`]s. Sessions and groups are independent of each other, so they can run on
//! different threads. Time and new [`LinkId`]s are inputs.
//!
//! # The rules of `connect`
//!
//! A peer sends `connect` with an id of its choice, and *names* ids: those of the members that it is directly connected
//! to. A peer that is not a member *searches*: the group binds it to one member after another. It has *tried* an id if
//! it has been bound to a member with this id since the latest of these events: it joined, it was last a member, or its
//! search started over (rule 5). The group applies the first rule that matches:
//!
//! 1. If the group has no members, the peer becomes the first member.
//! 2. If the peer is the only member, it stays a member and keeps its id.
//! 3. If the peer names the id of a current member, its own included, it becomes a member, or stays one under its new
//!    id.
//! 4. If the peer has tried the id of the only member, that member *blocks*. It is evicted with 4744, and the peer
//!    becomes a member. [`Group::with_eviction_min_age`] can protect a new member.
//! 5. Otherwise the peer is bound to the first member that it has not tried. If it has tried all members, its search
//!    starts over: it is bound to the first member, and only that id counts as tried. A peer is never bound to itself.
//!    Members whose peers joined as *favored* ([`Event::Join`]; `?favored` in a URL) come before the others; within each
//!    kind, the order is that in which they became members. If the peer that sent `connect` is a member, it loses its
//!    membership by this rule.
//!
//! The answer is `connected: true` by rules 1 to 4, and `connected: false` by rule 5.
//!
//! To bound its cost, a search can deviate from rule 5 in two cases:
//! - A group remembers the 16 members that most recently changed their ids. If more members change their ids during a
//!   search, the search can miss the others until it starts over.
//! - If more than 16 members in a row have taken ids that the peer has tried, it skips 16 of them and selects the next
//!   one.
//!
//! # Example
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
//!     let (id, now) = (MemberId(id), Duration::ZERO);
//!     let connect = Event::Connect { peer, id, members: vec![], new_link, now };
//!     group.handle(connect, &mut actions)
//! };
//!
//! // Alice becomes the first member. Bob is bound to her.
//! assert_eq!(join(PeerId(1), 10, 1), Outcome::Answered { member: true });
//! assert_eq!(join(PeerId(2), 20, 2), Outcome::Answered { member: false });
//! ```

// The modules of a group import each other in one direction: group (the reducer) imports decide (the rules of
// `connect`), decide imports search (what one joiner has tried), and search imports members (the list and its order).
// group also imports links (the peers and the links between them), which contains no rule.
mod close;
mod decide;
mod event;
#[cfg(test)]
mod explore;
mod group;
mod id;
mod key;
mod links;
mod members;
mod search;
mod session;
mod wire;

#[cfg(feature = "cluster")]
pub(crate) use {
    decide::{ConnectRequest, Decision, decide},
    links::{Links, Peer},
    members::{Member, Members, Position},
    search::Search,
};

pub use close::{AppCode, CloseCode};
pub use event::{Action, Event, Outcome};
pub use group::{Group, PeerRoles};
pub use id::{LinkId, MemberId, PeerId};
#[cfg(feature = "hyper")]
pub(crate) use key::percent_decoded;
pub use key::{GroupKey, KeyError, MAX_KEY_BYTES};
pub use session::{Request, Session, SessionError};
pub use wire::{Message, WireError};
