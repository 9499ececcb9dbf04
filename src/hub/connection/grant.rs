//! What the app granted to an admitted peer beyond its place in the limits.

use std::sync::Arc;

use crate::hub::admission::hook::PeerInfo;
use crate::hub::admission::permit::PeerSlot;
use crate::hub::rooms::identity_index::IdentityEntry;
use crate::hub::rooms::outbox::Outbox;
use crate::hub::shared::Shared;
use crate::protocol::PeerId;

/// An admitted peer, which may join.
#[derive(Debug)]
pub(in crate::hub) struct AdmittedPeer {
    pub(in crate::hub) slot: PeerSlot,
    /// Boxed, because most hubs grant nothing.
    pub(in crate::hub) grant: Option<Box<Grant>>,
}

/// The entry of a peer that has an identity.
#[derive(Debug)]
pub(in crate::hub) struct Grant {
    identity: IdentityEntry,
}

impl Grant {
    /// Applies the answer of the admission hook. `close_count` is the number of closed identities when the admission
    /// began.
    pub(in crate::hub) fn new(shared: &Shared, info: &PeerInfo, close_count: u64) -> Option<Box<Self>> {
        let identity = info.identity.as_ref()?;
        let outbox = Outbox::new(shared.outbox_budget.clone());
        let identity = shared.identities.insert(identity, shared.next_peer(), outbox, close_count);
        Some(Box::new(Self { identity }))
    }
}

impl AdmittedPeer {
    /// Returns the id of the peer and its outbox, which exist already if the peer has an identity.
    pub(in crate::hub) fn id_and_outbox(&self, shared: &Shared) -> (PeerId, Arc<Outbox>) {
        match &self.grant {
            Some(grant) => (grant.identity.peer(), grant.identity.outbox().clone()),
            None => (shared.next_peer(), Outbox::new(shared.outbox_budget.clone())),
        }
    }
}

impl From<PeerSlot> for AdmittedPeer {
    fn from(slot: PeerSlot) -> Self {
        Self { slot, grant: None }
    }
}
