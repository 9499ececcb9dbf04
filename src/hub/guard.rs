//! What turns a peer away or puts it out.

use std::fmt;

/// A limit, a deadline or a check that a peer did not pass.
///
/// Those that are numbers are called as their methods of [`HubBuilder`](crate::HubBuilder).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Guard {
    /// The app's [`Admission`](crate::Admission) refused it, took too long or panicked.
    Admission,
    /// Its page comes from an origin that is not allowed.
    Origins,
    /// The hub is being drained.
    Drain,
    /// Peers in all.
    MaxPeers,
    /// Peers with one key.
    MaxPeersPerGroup,
    /// Peers from one address.
    MaxPeersPerAddress,
    /// Keys that have a peer.
    MaxGroups,
    /// New peers from one address.
    OpensPerSecond,
    /// What one peer sends.
    MessagesPerSecond,
    /// What one peer sends, in bytes.
    BytesPerSecond,
    /// How often one peer asks `connect`.
    ConnectsPerSecond,
    /// The length of one message.
    MaxMessageBytes,
    /// The ids in one `connect`.
    MaxMembersNamed,
    /// Messages that wait for a peer that does not read.
    OutboxMessages,
    /// Bytes that wait for a peer.
    OutboxBytes,
    /// The first `connect`.
    ConnectWithin,
    /// A socket that takes nothing.
    WriteWithin,
    /// An HTTP connection that does not become a WebSocket.
    UpgradeWithin,
    /// Heartbeats that a peer left unanswered.
    MissedHeartbeats,
}

impl Guard {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Admission,
        Self::Origins,
        Self::Drain,
        Self::MaxPeers,
        Self::MaxPeersPerGroup,
        Self::MaxPeersPerAddress,
        Self::MaxGroups,
        Self::OpensPerSecond,
        Self::MessagesPerSecond,
        Self::BytesPerSecond,
        Self::ConnectsPerSecond,
        Self::MaxMessageBytes,
        Self::MaxMembersNamed,
        Self::OutboxMessages,
        Self::OutboxBytes,
        Self::ConnectWithin,
        Self::WriteWithin,
        Self::UpgradeWithin,
        Self::MissedHeartbeats,
    ];

    /// Its name in [`HubBuilder`](crate::HubBuilder), in metrics and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Origins => "origins",
            Self::Drain => "drain",
            Self::MaxPeers => "max_peers",
            Self::MaxPeersPerGroup => "max_peers_per_group",
            Self::MaxPeersPerAddress => "max_peers_per_address",
            Self::MaxGroups => "max_groups",
            Self::OpensPerSecond => "opens_per_second",
            Self::MessagesPerSecond => "messages_per_second",
            Self::BytesPerSecond => "bytes_per_second",
            Self::ConnectsPerSecond => "connects_per_second",
            Self::MaxMessageBytes => "max_message_bytes",
            Self::MaxMembersNamed => "max_members_named",
            Self::OutboxMessages => "outbox_messages",
            Self::OutboxBytes => "outbox_bytes",
            Self::ConnectWithin => "connect_within",
            Self::WriteWithin => "write_within",
            Self::UpgradeWithin => "upgrade_within",
            Self::MissedHeartbeats => "missed_heartbeats",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_stands_at_its_place_and_has_a_name_of_its_own() {
        for (place, guard) in Guard::ALL.iter().enumerate() {
            assert_eq!(*guard as usize, place, "{guard}");
        }
        let names: std::collections::BTreeSet<_> = Guard::ALL.iter().map(|guard| guard.name()).collect();
        assert_eq!(names.len(), Guard::ALL.len());
    }
}
