//! The settings of a hub ([`config`]), the types that enforce them ([`count`], [`token_bucket`]), the flag of a hub
//! that shuts down ([`draining`]), and the [`Cause`] that names each limit.

pub(super) mod config;
pub(super) mod count;
pub(super) mod draining;
pub(super) mod token_bucket;

use std::fmt;

/// A limit, deadline or check that rejected a join or closed a peer.
///
/// A cause that is a setting has the name of its method of [`HubBuilder`](crate::HubBuilder).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// The app's [`Admission`](crate::Admission) hook rejected the peer, timed out or panicked.
    Admission,
    /// The request has no allowed origin, or several `Origin` headers.
    AllowedOrigins,
    /// The hub is draining.
    Draining,
    /// The key is empty, too long, or not valid percent-encoded UTF-8.
    InvalidKey,
    /// Number of peers in the hub.
    MaxPeers,
    /// Number of peers in one group.
    MaxPeersPerGroup,
    /// Number of peers from one client IP.
    MaxPeersPerIp,
    /// Number of peers with the same identity.
    MaxPeersPerIdentity,
    /// Number of groups.
    MaxGroups,
    /// Joins per second from one client IP.
    JoinsPerSecondPerIp,
    /// Messages per second from one peer.
    MessagesPerSecond,
    /// Bytes per second from one peer.
    BytesPerSecond,
    /// `connect` messages per second from one peer.
    ConnectsPerSecond,
    /// Messages per second from one client IP.
    MessagesPerSecondPerIp,
    /// Bytes per second from one client IP.
    BytesPerSecondPerIp,
    /// Size of one message.
    MaxMessageBytes,
    /// Number of ids that one `connect` names.
    MaxMembersPerConnect,
    /// Messages queued for a slow consumer.
    MaxOutboxMessages,
    /// Bytes queued for one peer.
    MaxOutboxBytes,
    /// Bytes queued for all peers.
    MaxTotalOutboxBytes,
    /// Time until the first `connect`.
    FirstConnectTimeout,
    /// Time for which the oldest queued message has waited.
    OutboxTimeout,
    /// Time until an HTTP connection becomes a WebSocket after its handshake was accepted.
    UpgradeTimeout,
    /// Heartbeats in a row that the peer missed.
    MaxMissedHeartbeats,
    /// Number of members of one group in a cluster.
    MaxMembersPerGroup,
    /// Time until a `connect` has an answer in a cluster.
    ConnectAnswerTimeout,
    /// Time until which the app admitted the peer ([`PeerInfo::expires_at`](crate::PeerInfo::expires_at)).
    ExpiresAt,
}

impl Cause {
    /// All causes, in the order of their discriminants.
    pub const ALL: &[Self] = &[
        Self::Admission,
        Self::AllowedOrigins,
        Self::Draining,
        Self::InvalidKey,
        Self::MaxPeers,
        Self::MaxPeersPerGroup,
        Self::MaxPeersPerIp,
        Self::MaxPeersPerIdentity,
        Self::MaxGroups,
        Self::JoinsPerSecondPerIp,
        Self::MessagesPerSecond,
        Self::BytesPerSecond,
        Self::ConnectsPerSecond,
        Self::MessagesPerSecondPerIp,
        Self::BytesPerSecondPerIp,
        Self::MaxMessageBytes,
        Self::MaxMembersPerConnect,
        Self::MaxOutboxMessages,
        Self::MaxOutboxBytes,
        Self::MaxTotalOutboxBytes,
        Self::FirstConnectTimeout,
        Self::OutboxTimeout,
        Self::UpgradeTimeout,
        Self::MaxMissedHeartbeats,
        Self::MaxMembersPerGroup,
        Self::ConnectAnswerTimeout,
        Self::ExpiresAt,
    ];

    /// Returns the name of the setting, which is also the label `cause` of metrics and the field `cause` of logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::AllowedOrigins => "allowed_origins",
            Self::Draining => "draining",
            Self::InvalidKey => "invalid_key",
            Self::MaxPeers => "max_peers",
            Self::MaxPeersPerGroup => "max_peers_per_group",
            Self::MaxPeersPerIp => "max_peers_per_ip",
            Self::MaxPeersPerIdentity => "max_peers_per_identity",
            Self::MaxGroups => "max_groups",
            Self::JoinsPerSecondPerIp => "joins_per_second_per_ip",
            Self::MessagesPerSecond => "messages_per_second",
            Self::BytesPerSecond => "bytes_per_second",
            Self::ConnectsPerSecond => "connects_per_second",
            Self::MessagesPerSecondPerIp => "messages_per_second_per_ip",
            Self::BytesPerSecondPerIp => "bytes_per_second_per_ip",
            Self::MaxMessageBytes => "max_message_bytes",
            Self::MaxMembersPerConnect => "max_members_per_connect",
            Self::MaxOutboxMessages => "max_outbox_messages",
            Self::MaxOutboxBytes => "max_outbox_bytes",
            Self::MaxTotalOutboxBytes => "max_total_outbox_bytes",
            Self::FirstConnectTimeout => "first_connect_timeout",
            Self::OutboxTimeout => "outbox_timeout",
            Self::UpgradeTimeout => "upgrade_timeout",
            Self::MaxMissedHeartbeats => "max_missed_heartbeats",
            Self::MaxMembersPerGroup => "max_members_per_group",
            Self::ConnectAnswerTimeout => "connect_answer_timeout",
            Self::ExpiresAt => "expires_at",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of the setting.
#[cfg(feature = "serde")]
impl serde::Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contains_every_cause_once_in_order() {
        for (index, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, index, "{cause}");
            assert_eq!(cause.to_string(), cause.as_str());
        }
        let names: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(names.len(), Cause::ALL.len());
    }
}
