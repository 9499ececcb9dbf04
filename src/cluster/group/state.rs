//! The state of one group on one node, and its outputs.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::members::MemberCopy;
use crate::cluster::records::{Record, Side};
use crate::cluster::{Entry, GroupTag, NodeId, Token};
use crate::protocol::{Action, Decision, LinkId, Links, MemberId, Message, PeerId, Search};

/// One group on one node.
#[derive(Debug)]
pub(crate) struct ClusterGroup {
    pub(super) me: NodeId,
    pub(super) tag: GroupTag,
    pub(super) rules: Rules,
    pub(super) links: Links<Role>,
    /// The remote ends of the links between two nodes.
    pub(super) stand_ins: HashMap<LinkId, StandIn>,
    pub(super) copy: MemberCopy,
    /// The first job is the one that the step in flight is for.
    pub(super) jobs: VecDeque<Job>,
    pub(super) in_flight: Option<InFlight>,
    /// Entries to remove: peers that left or lost their membership, and members of dead nodes.
    pub(super) removals: Vec<Token>,
    /// The last reply did not have all local members.
    pub(super) has_lost_members: bool,
    /// An audit is due: the next step puts the entries of all local members again.
    pub(super) audit_due: bool,
    /// The reply to the step in flight shows the list, but no longer decides: this node has a new incarnation.
    pub(super) in_flight_is_void: bool,
    /// Nodes that were declared dead. Their members are removed at the next step. All groups of a node share the set.
    pub(super) dead: Arc<BTreeSet<NodeId>>,
    pub(super) repairs: Repairs,
    /// Empty between contents; kept for its capacity.
    pub(super) actions: Vec<Action>,
}

/// What all groups of a node have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The time for which a member is protected from eviction after it became a member.
    pub(crate) eviction_min_age: Duration,
    /// The number of members above which a group does not grow.
    pub(crate) max_members: usize,
    /// The memory for messages that wait for the answer to a peer's `connect`, in bytes.
    pub(crate) max_held_bytes: usize,
}

/// How often the list did not agree with the peers, for counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repairs {
    /// Steps that put local members back into a list that had lost them.
    pub(crate) put_back: u64,
    /// Entries to remove because they have no member: entries of dead nodes, and of local peers without membership.
    pub(crate) removed: u64,
    /// Local members that were closed, because their list was founded anew without them.
    pub(crate) other_lineage: u64,
}

/// What the group stores about a peer in addition to its links.
#[derive(Debug)]
pub(super) enum Role {
    Local(Local),
    StandIn,
}

/// A peer that is connected to this node.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) favored: bool,
    pub(super) search: Search,
    /// Its entry as of the last reply that confirmed it, and the lineage of the list at that time.
    pub(super) membership: Option<(Entry, u64)>,
    /// It is being closed, so its connects are ignored.
    pub(super) closing: bool,
    /// While a `connect` of the peer is being decided, the messages that must follow the answer.
    pub(super) held: Option<Held>,
}

/// Messages that wait for the answer to a `connect`.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Each with its sender, see [`Output::Send`].
    pub(super) messages: Vec<(PeerId, Message)>,
    /// What they take in memory.
    pub(super) bytes: usize,
}

/// The remote end of a link between two nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandIn {
    /// Represents the remote end among the peers of this node.
    pub(super) peer: PeerId,
    pub(super) token: Token,
    /// Which end of the link it is.
    pub(super) side: Side,
}

/// What the caller must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send a message to a local peer. `sender` is the peer or stand-in that sent the content, or the receiver for a
    /// message of the hub.
    Send { to: PeerId, sender: PeerId, message: Message },
    /// Close a local peer.
    Close { peer: PeerId, cause: CloseCause },
    /// Reuse a link id that this node allocated.
    ReleaseLink(LinkId),
    /// Send a record to a node.
    Record { to: NodeId, record: Record },
    /// A `connect` was answered, for counters and events.
    Answered { peer: PeerId, member: bool },
}

/// Why the group closes a local peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCause {
    /// Another peer's `connect` has evicted the member.
    Evicted,
    /// The group has `max_members` members.
    GroupFull,
    /// The messages that wait for the answer to the peer's `connect` exceed `max_held_bytes`.
    TooManyHeldBytes,
    /// An assumption of this code did not hold.
    Internal,
}

/// What waits for the backplane.
#[derive(Debug)]
pub(super) enum Job {
    Connect(Connect),
    /// Reads the list.
    Look {
        asked: bool,
    },
}

/// A `connect` that is not answered yet.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) peer: PeerId,
    pub(super) id: MemberId,
    pub(super) named: Vec<MemberId>,
    pub(super) new_link: LinkId,
    /// Represents the member that the peer may be bound to, if that is a peer of another node.
    pub(super) stand_in: PeerId,
    /// A step was sent since the peer connected, so its reply is recent enough for the answer.
    pub(super) asked: bool,
    /// A step for this decision was sent, and its outcome is unknown.
    pub(super) unresolved: Option<Decision<Token>>,
    /// A step that may make the peer a member was sent.
    pub(super) attempted: bool,
    /// Since then, another node knew the peer as a member.
    pub(super) seen_by_others: bool,
}

/// What the step in flight is for.
#[derive(Debug)]
pub(super) enum InFlight {
    /// Reads the list.
    Look,
    /// Applies this decision on the first job.
    Change(Decision<Token>),
    /// Reads the list to learn whether the decision on the first job was applied.
    Resolve(Decision<Token>),
    /// Removes entries.
    Removals(Vec<Token>),
    /// Puts local members back that the list has lost, or puts the entries of all of them again.
    Returns {
        /// The nonce that the list has afterwards if the step has changed it.
        nonce: u64,
    },
}

/// A call to the backplane failed. It may have been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutcomeUnknown;
