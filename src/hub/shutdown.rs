//! Close peers that did nothing wrong: one, a group, all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::close::Close;
use super::rooms::room::Room;
use super::shared::SignalingHub;
use crate::protocol::{CloseCode, GroupKey, PeerId};

/// How close in time two closes of a drain have to be to go together.
const TOGETHER: Duration = Duration::from_millis(10);

const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

impl SignalingHub {
    /// Closes a peer, and says whether there is one of this number. Finding it takes a look at every group.
    ///
    /// It is told what waits for it, and then this code; it may come back.
    pub fn close_peer(&self, peer: PeerId, code: CloseCode) -> bool {
        let rooms = self.shared.registry.snapshot();
        rooms.iter().any(|room| room.close(peer, code.into(), &self.shared.link_ids))
    }

    /// Closes all peers with a key, and says how many they are. They may come back, to a new group.
    pub fn close_group(&self, key: &GroupKey, code: CloseCode) -> usize {
        let room = self.shared.registry.find(key);
        room.map_or(0, |room| room.close_all(&code.into(), &self.shared.link_ids))
    }

    /// Closes all peers of those groups whose key is one of these, and says how many they are.
    ///
    /// ```
    /// # let hub = sigver::SignalingHub::new();
    /// use sigver::protocol::CloseCode;
    ///
    /// const OVER: CloseCode = CloseCode::app(4002);
    /// let closed = hub.close_groups_where(|key| key.as_str().starts_with("exam/"), OVER);
    /// ```
    pub fn close_groups_where(&self, mut is_one: impl FnMut(&GroupKey) -> bool, code: CloseCode) -> usize {
        let closing = Close::from(code);
        let rooms = self.shared.registry.snapshot();
        let rooms = rooms.iter().filter(|room| is_one(room.key()));
        rooms.map(|room| room.close_all(&closing, &self.shared.link_ids)).sum()
    }

    /// Empties the hub before its server goes: refuses new peers from now on, with 503, or with 1001 where the handshake
    /// is not the hub's, and closes those that are here with 1001, spread evenly over this time. Then waits until the
    /// last one is gone, but not longer than that in all, and says how many sockets are left.
    ///
    /// Spread, as clients come back together otherwise: Netflux does so exactly 3 s after a close, and whoever gets all
    /// of them at once has a hard time. HTTP servers' own graceful shutdown does not know of upgraded sockets: call this
    /// beside it, with a little less time than the server has until it is killed.
    ///
    /// # Cancel safety
    /// When the future is dropped new peers are refused all the same, and those that are not closed yet stay.
    pub async fn drain(&self, timeout_: Duration) -> usize {
        let peers = self.start_draining();
        let start = Instant::now();
        // A longer time could not be added to a clock.
        let timeout_ = timeout_.min(LONGEST_DRAIN);
        // The last one needs time to answer.
        let spread = timeout_.saturating_sub(self.shared.config.close_timeout);
        let drain = async {
            let count = peers.len() as f64;
            for (nth, (room, peer)) in peers.into_iter().enumerate() {
                let due = start + spread.mul_f64(nth as f64 / count);
                if due > Instant::now() + TOGETHER {
                    sleep_until(due).await;
                }
                room.close(peer, Close::draining(), &self.shared.link_ids);
            }
            self.all_gone().await;
        };
        // Who is left then is counted below.
        let _ = timeout(timeout_, drain).await;
        self.shared.counters.connections.get().max(self.shared.counters.admitted.get())
    }

    /// Whether the hub refuses new peers because of a [`SignalingHub::drain`] or [`SignalingHub::shutdown`]: for a
    /// server that tells its load balancer.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Closes all peers with 1001 at once, refuses those that come from now on, and waits until their sockets are
    /// closed.
    ///
    /// A peer that does not answer the close, or does not read, is dropped after
    /// [`HubBuilder::close_timeout`](crate::HubBuilder::close_timeout). The wait takes at most twice that, however many
    /// new peers come. [`SignalingHub::drain`] is kinder to those who get the peers then.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the closes back.
    pub async fn shutdown(&self) {
        self.close_all();
        // Who is left after that came later, and is on its way out.
        let _ = timeout(2 * self.shared.config.close_timeout, self.all_gone()).await;
    }

    /// Waits for those that are still asked about, too: they hold a permit and no socket yet.
    async fn all_gone(&self) {
        self.shared.counters.admitted.wait_for_zero().await;
        self.shared.counters.connections.wait_for_zero().await;
    }

    pub(super) fn close_all(&self) {
        for (room, peer) in self.start_draining() {
            room.close(peer, Close::draining(), &self.shared.link_ids);
        }
    }

    /// All peers that there will be, in an order that no group and no age has a part in.
    fn start_draining(&self) -> Vec<(Arc<Room>, PeerId)> {
        // Before the walk: a peer takes its seat and then looks at this, so one of the two sees the other.
        self.shared.draining.store(true, Ordering::SeqCst);
        let rooms = self.shared.registry.snapshot();
        let peers =
            |room: Arc<Room>| room.peers(&self.shared.link_ids).into_iter().map(move |peer| (room.clone(), peer));
        let mut peers: Vec<_> = rooms.into_iter().flat_map(peers).collect();
        fastrand::shuffle(&mut peers);
        peers
    }
}
