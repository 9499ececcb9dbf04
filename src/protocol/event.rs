//! The boundary of a group: events in, actions and an outcome out.

use std::time::Duration;

use bytes::Bytes;

use super::{CloseCode, LinkId, MemberId, Message, PeerId};

/// An input of [`Group::handle`](super::Group::handle).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer joined the group. It is not yet a member.
    Join {
        /// The peer; not in the group yet.
        peer: PeerId,
        /// Whether joiners are bound to this peer before other members, once it is a member.
        favored: bool,
    },
    /// A peer asks to be a member. The group applies the [rules](super#the-rules-of-connect), and answers with one
    /// [`Message::Connected`].
    Connect {
        /// The peer that connects.
        peer: PeerId,
        /// The id under which it becomes a member.
        id: MemberId,
        /// The ids that it names: those of the members that it is directly connected to. Each costs at most one lookup,
        /// or a few comparisons if the group has few members, so the caller must limit their number.
        members: Vec<MemberId>,
        /// The id of the link that the connect may create: random, and not in use. If the connect creates no link,
        /// an [`Action::ReleaseLink`] returns the id at once.
        new_link: LinkId,
        /// The time on a monotonic clock of the caller. Only
        /// [`Group::with_eviction_min_age`](super::Group::with_eviction_min_age) uses it.
        now: Duration,
    },
    /// A peer sends data along a link.
    Content {
        /// The sender.
        peer: PeerId,
        /// The link id of one of the sender's joiners; or, for the member that the sender is bound to, 0 or that
        /// member's id. Content with any other value is dropped.
        recipient: u32,
        /// Whether this is the last data in this direction of the link.
        last: bool,
        /// The payload.
        data: Bytes,
    },
    /// A peer's connection ended.
    Leave {
        /// The peer. Its id may join again.
        peer: PeerId,
    },
}

/// An output of [`Group::handle`](super::Group::handle). The caller applies the actions in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Send a message to a peer.
    Send {
        /// A peer that has joined and not left.
        to: PeerId,
        /// [`Message::Connected`] or [`Message::Content`].
        message: Message,
    },
    /// Close a peer's connection. The peer is no longer a member. Until it leaves, the group ignores its connects, and
    /// still relays along its links.
    Close {
        /// The peer to close.
        peer: PeerId,
        /// The reason.
        code: CloseCode,
    },
    /// Reuse this link id: it is no longer in use.
    ReleaseLink(LinkId),
}

/// The result of an event for the peer that caused it.
///
/// It repeats nothing that the caller must do. Callers use it for counters, logs and notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A join or a leave; a connect of a peer that has been evicted; or content without a receiver.
    Nothing,
    /// A connect was answered.
    Answered {
        /// The answer: true if the peer is a member, false if it is bound to one (`connected` on the wire).
        member: bool,
    },
    /// Content was relayed to the other end of a link.
    Relayed {
        /// The length of the payload.
        bytes: usize,
    },
}
