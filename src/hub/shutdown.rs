//! Closes all peers of a hub that stops: in a drain or in a shutdown.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use super::close::Close;
use super::rooms::room::Room;
use super::shared::SignalingHub;
use crate::protocol::PeerId;

/// Closes of a drain that are due within this time need no timer between them.
const SPREAD_RESOLUTION: Duration = Duration::from_millis(10);

const MAX_DRAIN_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

impl SignalingHub {
    /// Drains the hub before its server stops, and returns the number of remaining connections.
    ///
    /// From now on the hub rejects joins: with HTTP status 503, or with close code 1001 if the app accepted the
    /// WebSocket handshake itself. It closes existing peers with 1001, spread evenly over `timeout` minus
    /// [`HubBuilder::close_timeout`](crate::HubBuilder::close_timeout). It returns when the last connection has ended,
    /// and after `timeout` at the latest, unless it has not started to close every peer by then: in that case it
    /// returns as soon as it has. It yields to other tasks between the closes.
    ///
    /// In a cluster, it also waits until the other nodes know that the peers have left. Keep the driver running until
    /// then.
    ///
    /// The spread prevents a reconnect storm: Netflux, for example, reconnects exactly 3 s after a close. The graceful
    /// shutdown of an HTTP server does not wait for upgraded connections over HTTP/1.1, and waits for them forever over
    /// HTTP/2. Call this method first, while the server still accepts connections, and stop the server afterwards. Both
    /// together must take less time than the service manager allows.
    ///
    /// # Cancel safety
    /// If the future is dropped, the hub keeps rejecting joins, and the peers that are not closed yet stay connected.
    pub async fn drain(&self, timeout: Duration) -> usize {
        let start = Instant::now();
        // Before the collection, see `Draining`.
        self.shared.start_draining();
        // A longer time could overflow the clock.
        let timeout = timeout.min(MAX_DRAIN_TIMEOUT);
        // The last peer needs time for its close handshake.
        let spread = timeout.saturating_sub(self.shared.config.close_timeout);
        let peers = self.shuffled_peers().await;
        let count = peers.len() as f64;
        for (nth, (room, peer)) in peers.into_iter().enumerate() {
            let due = start + spread.mul_f64(nth as f64 / count);
            if due > Instant::now() + SPREAD_RESOLUTION
                && timeout_at(due, self.shared.counters.admitted.wait_for_zero()).await.is_ok()
            {
                // The remaining peers have left.
                break;
            }
            room.close(peer, Close::draining());
            consume_budget().await;
        }
        // After a timeout, the counts below show what is left.
        let _ = timeout_at(start + timeout, self.wait_for_all()).await;
        let counters = &self.shared.counters;
        counters.connections.get().max(counters.admitted.get())
    }

    /// Returns whether the hub rejects joins because of [`SignalingHub::drain`] or [`SignalingHub::shutdown`].
    ///
    /// Use it to report the server as not ready to a load balancer.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// Returns whether a load balancer should send new peers to this hub: it is not draining, and in a cluster its
    /// engine has answered a beat within the last 2.5 beats (5 s by default).
    ///
    /// A hub that is not ready keeps its peers. While its engine does not answer, their `connect` messages wait.
    pub fn is_ready(&self) -> bool {
        #[cfg(feature = "cluster")]
        if let Some(rooms) = self.shared.registry.cluster()
            && !rooms.bus().is_ready(self.shared.clock())
        {
            return false;
        }
        !self.is_draining()
    }

    /// Rejects joins from now on, closes all peers with 1001 immediately, and waits until all connections have ended.
    ///
    /// It yields to other tasks between the closes. The hub drops a connection that does not complete the close
    /// handshake within [`HubBuilder::close_timeout`](crate::HubBuilder::close_timeout). This method returns at the
    /// latest twice that time after the last close, even if clients keep connecting. [`SignalingHub::drain`] spreads
    /// the reconnects over time.
    ///
    /// # Cancel safety
    /// If the future is dropped, the hub keeps rejecting joins, and the peers that are not closed yet stay connected.
    pub async fn shutdown(&self) {
        self.close_all().await;
        // A connection that is left afterwards began later, and is being rejected.
        let _ = tokio::time::timeout(2 * self.shared.config.close_timeout, self.wait_for_all()).await;
    }

    pub(super) async fn close_all(&self) {
        // Before the first shard is visited, see `Draining`.
        self.shared.start_draining();
        let registry = &self.shared.registry;
        for shard in 0..registry.shard_count() {
            for room in registry.rooms_of_shard(shard) {
                room.close_all(&Close::draining());
                consume_budget().await;
            }
        }
    }

    /// Waits for admitted peers and for connections. A pending admission has no connection yet, and a peer in its close
    /// handshake is no longer admitted. In a cluster, a room stays until its peers are in no list any more, and records
    /// tell the other nodes which links have ended.
    async fn wait_for_all(&self) {
        self.shared.counters.admitted.wait_for_zero().await;
        self.shared.counters.connections.wait_for_zero().await;
        self.shared.registry.wait_for_no_room().await;
        #[cfg(feature = "cluster")]
        if let Some(rooms) = self.shared.registry.cluster() {
            rooms.bus().wait_for_no_record().await;
        }
    }

    /// Returns all peers in random order, so that peers of one group or of similar age are not closed together. The hub
    /// must be draining: peers that join meanwhile may be missing, and close themselves.
    async fn shuffled_peers(&self) -> Vec<(Arc<Room>, PeerId)> {
        let registry = &self.shared.registry;
        let mut peers = Vec::new();
        for shard in 0..registry.shard_count() {
            for room in registry.rooms_of_shard(shard) {
                peers.extend(room.peers().into_iter().map(|peer| (room.clone(), peer)));
                consume_budget().await;
            }
        }
        fastrand::shuffle(&mut peers);
        peers
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::task::yield_now;

    use super::*;
    use crate::hub::admission::request::JoinRequest;
    use crate::hub::limits::Cause;
    use crate::transport::{ChannelTransport, pair};

    const PEERS: usize = 2000;

    /// Returns a hub with one peer in each of many groups, and the clients of the peers.
    async fn hub_with_peers() -> (SignalingHub, Vec<ChannelTransport>) {
        let hub = SignalingHub::new();
        let join = |n: usize| {
            let (hub_end, client_end) = pair(1);
            tokio::spawn(hub.serve(hub_end, JoinRequest::new(&*n.to_string())));
            client_end
        };
        let clients: Vec<_> = (0..PEERS).map(join).collect();
        while hub.stats().peers < PEERS {
            yield_now().await;
        }
        (hub, clients)
    }

    /// Returns how often `future` yielded before it was complete.
    async fn yields_of(future: impl Future) -> usize {
        let (mut future, mut yields) = (pin!(future), 0);
        poll_fn(|cx| {
            let poll = future.as_mut().poll(cx);
            yields += usize::from(poll.is_pending());
            poll.map(drop)
        })
        .await;
        yields
    }

    #[tokio::test]
    async fn shutdown_of_many_peers_yields_between_closes() {
        let (hub, _clients) = hub_with_peers().await;
        let yields = yields_of(hub.close_all()).await;
        assert!(yields >= PEERS / 200, "{yields}");
    }

    #[tokio::test(start_paused = true)]
    async fn drain_without_time_closes_all_peers_and_yields_between_closes() {
        let (hub, _clients) = hub_with_peers().await;
        let yields = yields_of(hub.drain(Duration::ZERO)).await;
        // To collect the peers, and to close them.
        assert!(yields >= 2 * PEERS / 200, "{yields}");
        hub.wait_for_all().await;
        assert_eq!(hub.stats().closes.get(Cause::Draining), PEERS as u64);
    }
}
