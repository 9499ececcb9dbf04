//! Closes peers on behalf of the app: one peer, groups, or all of them in a drain or a shutdown.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::close::Close;
use super::rooms::room::Room;
use super::shared::SignalingHub;
use crate::protocol::{CloseCode, GroupKey, PeerId};

/// Closes of a drain that are due within this time need no timer between them.
const SPREAD_RESOLUTION: Duration = Duration::from_millis(10);

const MAX_DRAIN_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

impl SignalingHub {
    /// Closes a peer, and returns whether there is a peer with this id. It searches every group for the peer.
    ///
    /// The peer receives its queued messages, and then a close frame with `code`. It may join again.
    pub fn close_peer(&self, peer: PeerId, code: CloseCode) -> bool {
        let rooms = self.shared.registry.rooms();
        rooms.iter().any(|room| room.close(peer, code.into()))
    }

    /// Closes all peers of a group, and returns their number. They may join again, as a new group.
    pub fn close_group(&self, key: impl AsRef<str>, code: CloseCode) -> usize {
        // An invalid key has no group.
        let Ok(key) = GroupKey::new(key.as_ref()) else { return 0 };
        let room = self.shared.registry.find(&key);
        room.map_or(0, |room| room.close_all(&code.into()))
    }

    /// Closes all peers of the groups whose key matches the predicate, and returns their number.
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

    /// Drains the hub before its server stops, and returns the number of remaining connections.
    ///
    /// From now on the hub rejects joins: with HTTP status 503, or with close code 1001 if the app accepted the
    /// WebSocket handshake itself. It closes existing peers with 1001, spread evenly over `timeout` minus
    /// [`HubBuilder::close_timeout`](crate::HubBuilder::close_timeout), and then waits for the last connection to end. It
    /// returns after `timeout` at the latest.
    ///
    /// The spread prevents a reconnect storm: Netflux, for example, reconnects exactly 3 s after a close. The graceful
    /// shutdown of an HTTP server does not wait for upgraded connections, so call this method alongside it, with a
    /// timeout slightly shorter than the time until the process is killed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the hub keeps rejecting joins, and the peers that are not closed yet stay connected.
    pub async fn drain(&self, timeout: Duration) -> usize {
        let peers = self.start_draining();
        let start = Instant::now();
        // A longer time could overflow the clock.
        let timeout = timeout.min(MAX_DRAIN_TIMEOUT);
        // The last peer needs time for its close handshake.
        let spread = timeout.saturating_sub(self.shared.config.close_timeout);
        let drain = async {
            let count = peers.len() as f64;
            for (nth, (room, peer)) in peers.into_iter().enumerate() {
                let due = start + spread.mul_f64(nth as f64 / count);
                if due > Instant::now() + SPREAD_RESOLUTION {
                    sleep_until(due).await;
                }
                room.close(peer, Close::draining());
            }
            self.wait_for_all().await;
        };
        // After a timeout, the counts below show what is left.
        let _ = timeout_at(start + timeout, drain).await;
        let counters = &self.shared.counters;
        counters.connections.get().max(counters.admitted.get())
    }

    /// Returns whether the hub rejects joins because of [`SignalingHub::drain`] or [`SignalingHub::shutdown`].
    ///
    /// Use it to report the server as not ready to a load balancer.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Closes all peers with 1001 immediately, rejects joins from now on, and waits until all connections have ended.
    ///
    /// The hub drops a connection that does not complete the close handshake within
    /// [`HubBuilder::close_timeout`](crate::HubBuilder::close_timeout). This method returns after twice that time at the
    /// latest, even if clients keep connecting. [`SignalingHub::drain`] spreads the reconnects over time.
    ///
    /// # Cancel safety
    /// Dropping the future does not revert the closes.
    pub async fn shutdown(&self) {
        self.close_all();
        // A connection that is left afterwards began later, and is being rejected.
        let _ = tokio::time::timeout(2 * self.shared.config.close_timeout, self.wait_for_all()).await;
    }

    pub(super) fn close_all(&self) {
        for (room, peer) in self.start_draining() {
            room.close(peer, Close::draining());
        }
    }

    /// Waits for admitted peers and for connections. A pending admission has no connection yet, and a peer in its close
    /// handshake is no longer admitted.
    async fn wait_for_all(&self) {
        self.shared.counters.admitted.wait_for_zero().await;
        self.shared.counters.connections.wait_for_zero().await;
    }

    /// Rejects all further joins, and returns all peers in random order, so that neither groups nor ages are grouped.
    fn start_draining(&self) -> Vec<(Arc<Room>, PeerId)> {
        // Before the collection, see `Draining`.
        self.shared.draining.start();
        let rooms = self.shared.registry.rooms();
        let peers = |room: Arc<Room>| room.peers().into_iter().map(move |peer| (room.clone(), peer));
        let mut peers: Vec<_> = rooms.into_iter().flat_map(peers).collect();
        fastrand::shuffle(&mut peers);
        peers
    }
}
