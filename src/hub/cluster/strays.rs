//! Removes entries of peers that have left, if this node has no room of their group any more.
//!
//! A room removes such entries itself. But an engine that went back in time can show an entry again after the room was
//! removed, and so can a late step. No other node may remove it, because only this node knows its peers.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::node::Node;
use super::steps::STEP_TIMEOUT;
use crate::cluster::{Change, Condition, GroupTag, Step, Token};
use crate::protocol::PeerId;

/// The number of entries above which further ones are ignored until the next peer is bound to them. Other nodes name
/// them.
const MAX_STRAYS: usize = 1024;

/// Entries that other nodes have read, of peers that this node does not have.
#[derive(Debug, Default)]
pub(super) struct Strays {
    entries: Mutex<BTreeSet<(GroupTag, PeerId)>>,
    changed: Notify,
}

impl Strays {
    /// Adds the entry of a peer that has left.
    pub(super) fn insert(&self, group: GroupTag, peer: PeerId) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() < MAX_STRAYS {
            entries.insert((group, peer));
            self.changed.notify_one();
        }
    }

    fn pop(&self) -> Option<(GroupTag, PeerId)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }
}

impl Node {
    /// Removes the entries one after another. Never returns.
    pub(super) async fn run_strays(&self) {
        loop {
            let changed = pin!(self.strays.changed.notified());
            match self.strays.pop() {
                Some((group, peer)) => self.remove_stray(group, peer).await,
                None => changed.await,
            }
        }
    }

    /// Removes an entry. If that fails, the next peer that is bound to it leads to another attempt.
    async fn remove_stray(&self, group: GroupTag, peer: PeerId) {
        let token = Token { node: self.bus.me(), peer };
        let step = Step {
            seen: None,
            condition: Condition::Always,
            changes: vec![Change::Remove(token)],
            nonce: fastrand::u64(..),
            lineage: fastrand::u64(..),
            max_members: self.config.max_members_per_group,
        };
        match timeout(STEP_TIMEOUT, self.backplane.step(group, step)).await {
            Ok(Ok(_)) => tracing::debug!(%group, peer = peer.0, "entry of a peer that has left removed"),
            Ok(Err(_)) | Err(_) => tracing::debug!(%group, peer = peer.0, "entry of a peer that has left not removed"),
        }
    }
}
