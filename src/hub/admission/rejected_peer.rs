//! What a rejection reports about its peer.

use std::net::IpAddr;
use std::sync::Arc;

use super::peer_data::PeerData;
use super::permit::PeerSlot;
use super::request::JoinRequest;
use crate::protocol::GroupKey;

/// What the hub knows about a peer that it rejects. Nothing if the app created the rejection.
pub(in crate::hub) struct RejectedPeer<'a> {
    /// `None` if the key is invalid.
    pub(in crate::hub) key: Option<&'a GroupKey>,
    pub(in crate::hub) client_ip: Option<IpAddr>,
    /// `None` if the admission hook has not admitted the peer.
    pub(in crate::hub) slot: Option<&'a PeerSlot>,
    /// Whether it asked to join.
    pub(in crate::hub) is_upgrade: bool,
}

impl RejectedPeer<'_> {
    pub(in crate::hub) fn identity(&self) -> Option<Arc<str>> {
        self.slot?.shared_identity()
    }

    pub(in crate::hub) fn data(&self) -> PeerData {
        self.slot.map(PeerSlot::shared_data).unwrap_or_default()
    }
}

impl Default for RejectedPeer<'_> {
    fn default() -> Self {
        Self { key: None, client_ip: None, slot: None, is_upgrade: true }
    }
}

impl<'a> From<&'a JoinRequest> for RejectedPeer<'a> {
    fn from(request: &'a JoinRequest) -> Self {
        Self {
            key: request.try_key().ok(),
            client_ip: request.client_ip(),
            slot: None,
            is_upgrade: request.is_upgrade(),
        }
    }
}

impl<'a> From<&'a PeerSlot> for RejectedPeer<'a> {
    fn from(slot: &'a PeerSlot) -> Self {
        Self { key: Some(&slot.key), client_ip: slot.client_ip(), slot: Some(slot), is_upgrade: true }
    }
}
