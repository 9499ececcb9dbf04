//! The records that nodes send to each other, and the batches in which they travel.
//!
//! # Which link a record means
//!
//! The node of the joiner draws the id of a link. The id is unique among the links of that node, but another node can
//! draw the same id at the same time. So between nodes, *the node of the joiner and the id* identify a link. A record
//! has only the id: [`Record::Bind`] and [`Record::Over`] come from the joiner's node, [`Record::Id`] comes from the
//! member's node, and [`Record::Data`] and [`Record::End`] state the [`Side`] that they come from.
//!
//! A peer distinguishes its links by their ids alone, so the id must be unused on the member's node, too. If it is in
//! use there, the member's node answers a bind with `End { side: Member }`, as it does if the member is unknown. An id
//! thus names at most one link on each node. A node drops a record unless the other end of the link is on the node
//! that sent the record, and on the side that the record comes from. Without the check of the side, two nodes that bind
//! with the same id at the same time would pass content to the wrong peers.
//!
//! # Why most records name the group
//!
//! A link belongs to a room, which its group identifies. With the group in the record, a node finds the room of a link
//! as it finds the room of a bind. Otherwise it would need a second index, from links to rooms, that has to change
//! together with the rooms. A record with the wrong group has no effect, because that room has no such link.
//!
//! Peers are named without their nodes: the sender and the receiver of a batch are known, and no record is about a peer
//! of a third node.

mod codec;
mod reader;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub(crate) use codec::{Batch, BatchWriter, Records, sender};

use super::{GroupTag, NodeId};
use crate::protocol::{CloseCode, LinkId, MemberId, PeerId};

/// The maximum length of a batch in bytes: twice the highest `max_message_bytes`, so that any content fits. Not a
/// setting, because nodes with different settings read each other's batches.
pub(crate) const MAX_BATCH_BYTES: usize = 128 * 1024 * 1024;

/// The version of the format that this node writes and reads.
const VERSION: u8 = 1;

/// One message from a node to another. The batch has the sending node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A peer of the sending node was bound to a peer of the receiving node. The answer is [`Record::End`] if the
    /// member is unknown or the link id is in use.
    Bind {
        group: GroupTag,
        link: LinkId,
        /// A peer of the sending node.
        joiner: PeerId,
        /// A peer of the receiving node.
        member: PeerId,
        /// The id of the member in the sender's copy of the list. If the member was renamed since, its node did not
        /// know the link yet and sent no [`Record::Id`] for it. It sends one as an answer.
        member_id: MemberId,
    },
    /// Content that crosses a link.
    Data {
        group: GroupTag,
        link: LinkId,
        side: Side,
        /// It is the last content from this side.
        last: bool,
        bytes: Bytes,
    },
    /// The socket of this side closed, or the receiver's bind failed. The other end receives empty content, unless this
    /// direction of the link has ended.
    End { group: GroupTag, link: LinkId, side: Side },
    /// The joiner was bound again. The link ends without notice to the member.
    Over { group: GroupTag, link: LinkId },
    /// The member changed its id. Content for the new id is for this member.
    Id { group: GroupTag, link: LinkId, member_id: MemberId },
    /// A peer of the receiving node may have lost its membership. The receiver reads the member list to find out.
    Look { group: GroupTag, member: PeerId },
    /// Closes a peer of the receiving node. `cause` names the limit that it exceeded.
    Close { group: GroupTag, peer: PeerId, code: CloseCode, reason: String, cause: String },
    /// Closes several peers of the receiving node.
    CloseMatching { matching: Matching, code: CloseCode, reason: String },
    /// The sender missed records of the receiver, and has ended all links between the two nodes.
    Reset,
}

/// The end of a link that a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    Joiner,
    Member,
}

impl Side {
    /// Returns the other end.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Joiner => Self::Member,
            Self::Member => Self::Joiner,
        }
    }
}

/// The peers that [`Record::CloseMatching`] closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Matching {
    /// The peers of a group.
    Group(GroupTag),
    /// The peers to which the app gave this identity.
    Identity(String),
}
