//! Closes peers on behalf of the app: one peer, or the peers of an identity, of a group, or of a predicate.

use super::close::Close;
use super::observability::snapshot::PeerSnapshot;
use super::shared::SignalingHub;
use crate::protocol::{CloseCode, GroupKey, PeerId};

/// Closes by the app.
impl SignalingHub {
    /// Closes a peer, and returns whether there is a peer with this id. Its cost does not depend on the number of peers
    /// or groups, and it blocks no group.
    ///
    /// The peer receives its queued messages, and then a close frame with `code` and its
    /// [reason](CloseCode::reason): "closed by the app" for a code of the app. It may join again.
    pub fn close_peer(&self, peer: PeerId, code: CloseCode) -> bool {
        let Some(outbox) = self.shared.peer_index.find(peer) else { return false };
        outbox.close(code.into());
        true
    }

    /// Closes all peers of a group, and returns their number. They may join again, as a new group. Each peer
    /// receives the same as from [`SignalingHub::close_peer`].
    ///
    /// In a cluster, it also closes the peers of all other nodes that were alive at the last beat. The number has only
    /// those of this one.
    pub fn close_group(&self, key: impl AsRef<str>, code: CloseCode) -> usize {
        // An invalid key has no group.
        let Ok(key) = GroupKey::new(key.as_ref()) else { return 0 };
        #[cfg(feature = "cluster")]
        if let Some(rooms) = self.shared.registry.cluster() {
            rooms.close_on_other_nodes(&key, code);
        }
        let room = self.shared.registry.find(&key);
        room.map_or(0, |room| room.close_all(&code.into()))
    }

    /// Closes all peers of the groups whose key matches the predicate, and returns their number. Each peer receives the
    /// same as from [`SignalingHub::close_peer`].
    ///
    /// ```
    /// # let hub = sigver::SignalingHub::new();
    /// use sigver::protocol::CloseCode;
    ///
    /// const EXAM_ENDED: CloseCode = CloseCode::app(4002);
    /// let closed = hub.close_groups_where(|key| key.as_str().starts_with("exam/"), EXAM_ENDED);
    /// ```
    pub fn close_groups_where(&self, mut predicate: impl FnMut(&GroupKey) -> bool, code: CloseCode) -> usize {
        let close = Close::from(code);
        let rooms = self.shared.registry.rooms();
        let rooms = rooms.iter().filter(|room| predicate(room.key()));
        rooms.map(|room| room.close_all(&close)).sum()
    }

    /// Closes the peers that match the predicate, and returns their number. Each peer receives the same as from
    /// [`SignalingHub::close_peer`].
    ///
    /// It finds joined peers only. It misses peers whose admission hook is still running or whose WebSocket handshake
    /// is not complete, and it may miss peers that join meanwhile. To log out a user or a device, call
    /// [`SignalingHub::close_identity`], which misses none of them.
    ///
    /// The hub locks one group at a time, and calls the predicate without a lock. With 100 000 peers it blocks its
    /// thread for tens of milliseconds. [`SignalingHub::close_peer`], [`SignalingHub::close_identity`] and
    /// [`SignalingHub::close_group`] do not search.
    ///
    /// In a cluster, it closes only peers of this node.
    ///
    /// ```
    /// # let hub = sigver::SignalingHub::new();
    /// use std::time::Duration;
    ///
    /// use sigver::CloseCode;
    ///
    /// const EXAM_ENDED: CloseCode = CloseCode::app(4002);
    /// // Peers that have been in an exam for more than an hour.
    /// let closed = hub.close_peers_where(
    ///     |peer| peer.key.as_str().starts_with("exam/") && peer.age > Duration::from_secs(3600),
    ///     EXAM_ENDED,
    /// );
    /// ```
    pub fn close_peers_where(&self, mut predicate: impl FnMut(&PeerSnapshot) -> bool, code: CloseCode) -> usize {
        let (rooms, now) = (self.shared.registry.rooms(), self.shared.clock());
        let peers = rooms.iter().flat_map(|room| room.peer_snapshots(now));
        let matching = peers.filter(|peer| predicate(peer));
        matching.filter(|peer| self.close_peer(peer.id, code)).count()
    }

    /// Closes all peers to which the app's [`Admission`](crate::Admission) gave this identity, and returns their number.
    ///
    /// It reaches every peer whose admission began before this call: joined peers, peers whose WebSocket handshake is
    /// not complete, and, except in the number, peers whose admission hook is still running. So first change what the
    /// hook reads, and then call this method. A peer whose admission begins later may join. To close only the peers of
    /// one device of a user, give each of the user's sessions an identity of its own, such as `alice/2`.
    ///
    /// Each peer receives its queued messages, and then a close frame with `code` and `reason`. A reason of more than
    /// 123 bytes is truncated. Logs omit it, because it may contain a key or a token.
    ///
    /// Its cost depends only on the number of peers of the identity, and it blocks no group.
    ///
    /// In a cluster, it also closes the peers of all other nodes that were alive at the last beat. The number has only
    /// those of this one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// use sigver::{CloseCode, JoinRequest, PeerInfo, SignalingHub, memory};
    ///
    /// const LOGGED_OUT: CloseCode = CloseCode::app(4003);
    /// let admission = |_: JoinRequest| async { Ok(PeerInfo::new().identity("alice")) };
    /// let hub = SignalingHub::builder().admission(admission).build()?;
    /// let mut peer = memory::join(&hub, "a key");
    /// assert!(peer.connect(1, &[]).await);
    /// assert_eq!(hub.close_identity("alice", LOGGED_OUT, "logged out"), 1);
    /// assert_eq!(peer.recv_close().await.code, 4003);
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_identity(&self, identity: impl AsRef<str>, code: CloseCode, reason: impl Into<String>) -> usize {
        let (identity, close) = (identity.as_ref(), Close::by_app(code, reason));
        #[cfg(feature = "cluster")]
        if let Some(rooms) = self.shared.registry.cluster() {
            rooms.close_identity_on_other_nodes(identity, &close);
        }
        self.shared.close_identity(identity, &close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::admission::hook::PeerInfo;
    use crate::hub::admission::request::JoinRequest;
    use crate::hub::connection::peer_guard::PeerGuard;
    use crate::hub::sync::lock_count;

    /// Returns a hub with a peer of its own identity in each of many groups.
    async fn hub_with_identities(groups: usize) -> (SignalingHub, Vec<Box<PeerGuard>>) {
        let admission = |request: JoinRequest| async move { Ok(PeerInfo::new().identity(request.key().as_str())) };
        let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
        let mut peers = Vec::new();
        for n in 0..groups {
            let connection = hub.shared.count_connection(None);
            let admitted = hub.shared.admit(JoinRequest::new(n.to_string()), &connection).await.expect("no limit");
            peers.push(PeerGuard::new(&hub.shared, admitted).expect("no limit"));
        }
        (hub, peers)
    }

    #[tokio::test]
    async fn close_identity_locks_no_room_and_no_shard_of_the_registry() {
        let (hub, peers) = hub_with_identities(1000).await;
        let before = lock_count();
        assert_eq!(hub.close_identity("7", CloseCode::app(4001), "banned"), 1);
        assert_eq!(hub.close_identity("nobody", CloseCode::app(4001), "banned"), 0);
        assert_eq!(lock_count(), before);
        let closed: Vec<_> = peers.iter().filter(|peer| peer.outbox().close_reason().is_some()).collect();
        assert_eq!(closed.len(), 1);
    }

    #[tokio::test]
    async fn close_peer_locks_no_room_and_no_shard_of_the_registry() {
        let (hub, mut peers) = hub_with_identities(1000).await;
        let peer = hub.peers("7")[0].id;
        let before = lock_count();
        assert!(hub.close_peer(peer, CloseCode::Policy));
        assert!(!hub.close_peer(PeerId(u64::MAX), CloseCode::Policy));
        assert_eq!(lock_count(), before);
        drop(peers.remove(7));
        assert!(lock_count() > before, "the count works");
        assert!(!hub.close_peer(peer, CloseCode::Policy));
    }

    /// `cargo test --release --lib -- --ignored --nocapture close_among` prints the times.
    #[tokio::test]
    #[ignore = "prints times"]
    async fn close_among_40_000_groups_finds_its_peer() {
        let (hub, _peers) = hub_with_identities(40_000).await;
        let ids: Vec<_> = (0..1000).map(|n| hub.peers((n * 40).to_string())[0].id).collect();
        let per_close = |close: &dyn Fn(usize)| {
            let start = std::time::Instant::now();
            (0..1000).for_each(close);
            start.elapsed() / 1000
        };
        let by_identity =
            per_close(&|n| assert_eq!(hub.close_identity((n * 40).to_string(), CloseCode::Policy, ""), 1));
        let by_id = per_close(&|n| assert!(hub.close_peer(ids[n], CloseCode::Policy)));
        eprintln!("close_identity: {by_identity:?}, close_peer: {by_id:?}");
    }
}
