//! Finds the peers of an identity.

use std::collections::BTreeMap;
use std::collections::hash_map::{HashMap, RandomState};
use std::hash::BuildHasher as _;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::outbox::Outbox;
use super::shards::{shards, shrunk_capacity};
use crate::hub::admission::rejection::Rejection;
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::{AtLimit, Config};
use crate::hub::sync::{Mutex, MutexGuard};
use crate::protocol::{CloseCode, PeerId};

/// The admitted peers to which the app gave an identity, whether they have joined yet or not, in shards.
///
/// A close must reach every peer whose admission began before it:
///
/// - An admitted peer has an entry, and an outbox that can be closed before the peer joins.
/// - A peer whose admission hook is running has no identity yet. Therefore a close is kept for the longest time that a
///   hook can take, and a new entry compares its number with the number of closes at the start of the hook.
#[derive(Debug)]
pub(in crate::hub) struct IdentityIndex {
    shards: Box<[Shard]>,
    hasher: RandomState,
    limit: Option<(usize, AtLimit)>,
    /// The number of closes so far.
    closes: AtomicU64,
    /// How long a close is kept.
    kept: Duration,
}

/// Aligned to cache lines of its own, so that a join in one shard does not slow another core.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The peers of each identity, the oldest first: ids count up.
    peers: HashMap<Arc<str>, BTreeMap<PeerId, Arc<Outbox>>>,
    closed: HashMap<Arc<str>, RecentClose>,
    /// The number of closes at which a new one first removes the ones no longer needed.
    cleanup_at: usize,
}

#[derive(Debug)]
struct RecentClose {
    number: u64,
    /// On the hub's clock.
    at: Duration,
    close: Close,
}

/// The entry of one peer. Dropping it removes the peer from the index.
#[derive(Debug)]
pub(in crate::hub) struct IdentityEntry {
    index: Arc<IdentityIndex>,
    identity: Arc<str>,
    peer: PeerId,
    outbox: Arc<Outbox>,
}

/// The number of identities or closes up to which a shard does not release memory.
const KEPT_CAPACITY: usize = 64;

impl IdentityIndex {
    pub(in crate::hub) fn new(config: &Config) -> Self {
        Self {
            shards: shards(),
            hasher: RandomState::new(),
            limit: config.max_peers_per_identity,
            closes: AtomicU64::new(0),
            // Twice, because a busy runtime can poll a hook that is ready late.
            kept: 2 * config.admission_timeout,
        }
    }

    /// Returns the number of closes so far, which an admission needs at its start.
    pub(in crate::hub) fn close_count(&self) -> u64 {
        self.closes.load(Ordering::SeqCst)
    }

    /// Adds an admitted peer. Closes its outbox if the identity was closed since the admission began with this
    /// [`IdentityIndex::close_count`].
    ///
    /// # Errors
    /// The rejection, if the identity has as many peers as it may have, and the limit rejects new ones.
    pub(in crate::hub) fn insert(
        self: &Arc<Self>,
        identity: &Arc<str>,
        next_peer: impl FnOnce() -> PeerId,
        outbox: Arc<Outbox>,
        close_count: u64,
    ) -> Result<IdentityEntry, Rejection> {
        let (peer, closed) = {
            let mut table = self.lock(identity);
            if let Some((max, AtLimit::RejectNew)) = self.limit
                && table.peers.get(identity).is_some_and(|peers| peers.len() >= max)
            {
                // Without the identity, because the log shows the reason.
                let reason = format!("peer limit of the identity reached ({max})");
                return Err(Rejection::by(Cause::MaxPeersPerIdentity, CloseCode::TryAgainLater, reason));
            }
            // Under the lock, so that no peer is added before an older one of its identity.
            let peer = next_peer();
            table.peers.entry(identity.clone()).or_default().insert(peer, outbox.clone());
            let closed = table.closed.get(identity).filter(|closed| closed.number > close_count);
            (peer, closed.map(|closed| closed.close.clone()))
        };
        if let Some(close) = closed {
            outbox.close(close);
        }
        Ok(IdentityEntry { index: self.clone(), identity: identity.clone(), peer, outbox })
    }

    /// Closes the peers of an identity, and returns their number. It locks no room.
    pub(in crate::hub) fn close(&self, identity: &str, close: &Close, now: Duration) -> usize {
        // Before the lock: an admission that sees the new number begins after the close, and sees what the app did
        // before it.
        let number = self.closes.fetch_add(1, Ordering::SeqCst) + 1;
        let outboxes: Vec<_> = {
            let mut table = self.lock(identity);
            table.keep_close(identity, RecentClose { number, at: now, close: close.clone() }, self.kept);
            table.peers.get(identity).into_iter().flat_map(|peers| peers.values().cloned()).collect()
        };
        outboxes.iter().for_each(|outbox| outbox.close(close.clone()));
        outboxes.len()
    }

    fn lock(&self, identity: &str) -> MutexGuard<'_, Table> {
        let shard = self.hasher.hash_one(identity) as usize & (self.shards.len() - 1);
        // Each change leaves a valid table.
        self.shards[shard].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Keeps a close for the admission hooks that are running. The number of closes must double until the old ones are
    /// removed, so a scan visits at most two for each one that was added.
    fn keep_close(&mut self, identity: &str, recent: RecentClose, kept: Duration) {
        if self.closed.len() >= self.cleanup_at {
            self.closed.retain(|_, closed| closed.at.saturating_add(kept) > recent.at);
            self.cleanup_at = (2 * self.closed.len()).max(KEPT_CAPACITY);
            self.closed.shrink_to(self.cleanup_at);
        }
        // Another thread may have kept a later close meanwhile.
        if self.closed.get(identity).is_none_or(|closed| closed.number < recent.number) {
            self.closed.insert(identity.into(), recent);
        }
    }

    /// Removes the oldest peers of an identity, so that `max` peers are left of those up to `peer`. A later peer replaces
    /// others itself once it joins. Returns the outboxes of the removed peers.
    fn take_oldest(&mut self, identity: &str, peer: PeerId, max: usize) -> Vec<Arc<Outbox>> {
        let peers = self.peers.get_mut(identity).filter(|peers| peers.contains_key(&peer));
        // Without an entry, a later peer has replaced this one.
        let Some(peers) = peers else { return Vec::new() };
        let later = peers.range((Bound::Excluded(peer), Bound::Unbounded)).count();
        if peers.len() - later <= max {
            return Vec::new();
        }
        // Peers that are closed for another reason leave soon, and must not cost another peer its place.
        peers.retain(|&other, outbox| other >= peer || !outbox.is_closed());
        let later = peers.range((Bound::Excluded(peer), Bound::Unbounded)).count();
        let excess = (peers.len() - later).saturating_sub(max);
        (0..excess).filter_map(|_| peers.pop_first()).map(|(_, outbox)| outbox).collect()
    }

    fn remove(&mut self, identity: &str, peer: PeerId) {
        let Some(peers) = self.peers.get_mut(identity) else { return };
        peers.remove(&peer);
        if peers.is_empty() {
            self.peers.remove(identity);
            if let Some(capacity) = shrunk_capacity(self.peers.len(), self.peers.capacity(), KEPT_CAPACITY) {
                self.peers.shrink_to(capacity);
            }
        }
    }
}

impl IdentityEntry {
    pub(in crate::hub) fn peer(&self) -> PeerId {
        self.peer
    }

    /// Closes the oldest peers of the identity if it has too many and the limit replaces them. The peer has joined.
    pub(in crate::hub) fn replace_oldest(&self) {
        let Some((max, AtLimit::ReplaceOldest)) = self.index.limit else { return };
        // A closed peer replaces nobody.
        if self.outbox.is_closed() {
            return;
        }
        let replaced = self.index.lock(&self.identity).take_oldest(&self.identity, self.peer, max);
        for outbox in replaced {
            let reason = format!("replaced by a newer peer of the identity, which may have {max}");
            outbox.close(Close::by(Cause::MaxPeersPerIdentity, CloseCode::Policy, reason));
        }
    }

    /// Returns the outbox of the peer. It may be closed before the peer joins.
    pub(in crate::hub) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }
}

impl Drop for IdentityEntry {
    fn drop(&mut self) {
        self.index.lock(&self.identity).remove(&self.identity, self.peer);
    }
}

#[cfg(test)]
mod tests;
