//! The connections, peers and rates of each client IP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::ip_block::IpBlock;
use super::rejection::Rejection;
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::token_bucket::SharedTokenBucket;
use crate::protocol::CloseCode;

/// Counts what the clients of each IP block use.
#[derive(Debug)]
pub(in crate::hub) struct IpLimiter {
    blocks: Mutex<HashMap<IpBlock, Arc<Usage>>>,
    /// The zero of the hub's clock.
    epoch: Instant,
}

/// What the clients of one block use. Only a new connection needs the lock of the limiter to find it.
#[derive(Debug)]
struct Usage {
    block: IpBlock,
    limiter: Weak<IpLimiter>,
    /// Incremented only under the limiter's lock, so that no connection is added to a block that is being removed.
    connections: AtomicUsize,
    peers: AtomicUsize,
    joins: SharedTokenBucket,
    messages: SharedTokenBucket,
    bytes: SharedTokenBucket,
}

/// Counts a connection from a client IP until dropped. The [`IpSlot`] of its peer must be dropped first: the last
/// connection of a block removes the block unless it has peers.
#[derive(Debug)]
pub(in crate::hub) struct IpConnection {
    ip: CountedConnection,
    network: Option<CountedConnection>,
}

/// The slot of a peer in the limits of its client IP. Dropping it releases the slot.
#[derive(Debug)]
pub(in crate::hub) struct IpSlot {
    ip: CountedPeer,
    network: Option<CountedPeer>,
}

#[derive(Debug)]
struct CountedConnection(Arc<Usage>);

#[derive(Debug)]
struct CountedPeer(Arc<Usage>);

/// The number of blocks to keep before those without connections are removed.
const KEPT_CAPACITY: usize = 1024;

/// A block without connections is removed even if its message and byte buckets need this time to refill. Otherwise the
/// close frame of the last peer would keep the block. A client gains little, because each connection takes a token of
/// the join rate.
const NEGLIGIBLE: Duration = Duration::from_millis(1);

impl IpLimiter {
    pub(in crate::hub) fn new(epoch: Instant) -> Self {
        Self { blocks: Mutex::default(), epoch }
    }

    /// Counts a connection from `ip`, whatever the limits are.
    pub(in crate::hub) fn connect(self: &Arc<Self>, ip: IpAddr) -> IpConnection {
        let (ip, network) = IpBlock::of(ip);
        let mut blocks = self.blocks.lock().expect("nothing panics under this lock");
        let mut count = |block| self.count_connection(&mut blocks, block);
        IpConnection { ip: count(ip), network: network.map(count) }
    }

    fn count_connection(
        self: &Arc<Self>,
        blocks: &mut HashMap<IpBlock, Arc<Usage>>,
        block: IpBlock,
    ) -> CountedConnection {
        if blocks.len() == blocks.capacity().max(KEPT_CAPACITY) {
            remove_idle(blocks, self.clock());
        }
        let usage = blocks.entry(block).or_insert_with(|| Arc::new(Usage::new(block, Arc::downgrade(self))));
        usage.connections.fetch_add(1, Ordering::Relaxed);
        CountedConnection(usage.clone())
    }

    fn clock(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}

impl IpConnection {
    /// Fails if there are more than twice as many connections from the IP as it may have peers.
    pub(in crate::hub) fn check(&self, config: &Config) -> Result<(), Rejection> {
        self.usages().try_for_each(|usage| usage.check_connections(config))
    }

    /// Counts a join and takes a slot, unless that would exceed a limit. A join over the limit of peers still counts
    /// against the join rate.
    pub(in crate::hub) fn join(&self, config: &Config, now: Duration) -> Result<IpSlot, Rejection> {
        self.usages().try_for_each(|usage| usage.count_join(config, now))?;
        let ip = Usage::count_peer(&self.ip.0, config)?;
        let network = self.network.as_ref().map(|network| Usage::count_peer(&network.0, config)).transpose()?;
        Ok(IpSlot { ip, network })
    }

    fn usages(&self) -> impl Iterator<Item = &Usage> {
        [Some(&self.ip), self.network.as_ref()].into_iter().flatten().map(|counted| &*counted.0)
    }
}

impl IpSlot {
    /// Counts what the peer sent.
    pub(in crate::hub) fn count_received(
        &self,
        messages: usize,
        bytes: usize,
        config: &Config,
        now: Duration,
    ) -> Result<(), Close> {
        let counted = [Some(&self.ip), self.network.as_ref()].into_iter().flatten();
        counted.map(|counted| &counted.0).try_for_each(|usage| usage.count_received(messages, bytes, config, now))
    }
}

impl Usage {
    fn new(block: IpBlock, limiter: Weak<IpLimiter>) -> Self {
        let [connections, peers] = Default::default();
        let [joins, messages, bytes] = Default::default();
        Self { block, limiter, connections, peers, joins, messages, bytes }
    }

    fn check_connections(&self, config: &Config) -> Result<(), Rejection> {
        let max = self.block.limit(config.max_peers_per_ip).saturating_mul(2);
        if self.connections.load(Ordering::Relaxed) <= max {
            return Ok(());
        }
        let reason = format!("connection limit of your {} reached ({max})", self.block);
        Err(Rejection::too_many_connections(Cause::MaxPeersPerIp, reason))
    }

    fn count_join(&self, config: &Config, now: Duration) -> Result<(), Rejection> {
        let rate = self.block.rate(config.joins_per_second_per_ip);
        if self.joins.try_take(1, rate, now) {
            return Ok(());
        }
        let reason = format!("more than {rate} joins per second from your {}", self.block);
        Err(Rejection::by(Cause::JoinsPerSecondPerIp, CloseCode::TryAgainLater, reason))
    }

    fn count_peer(self: &Arc<Self>, config: &Config) -> Result<CountedPeer, Rejection> {
        let max = self.block.limit(config.max_peers_per_ip);
        let one_more = |peers| (peers < max).then_some(peers + 1);
        if self.peers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
            return Ok(CountedPeer(self.clone()));
        }
        let reason = format!("peer limit of your {} reached ({max})", self.block);
        Err(Rejection::by(Cause::MaxPeersPerIp, CloseCode::TryAgainLater, reason))
    }

    fn count_received(&self, messages: usize, bytes: usize, config: &Config, now: Duration) -> Result<(), Close> {
        let close = |cause, rate, what| {
            let reason = format!("more than {rate} {what} per second from your {}", self.block);
            Err(Close::by(cause, CloseCode::TryAgainLater, reason))
        };
        let rate = self.block.rate(config.messages_per_second_per_ip);
        if !self.messages.try_take(messages, rate, now) {
            return close(Cause::MessagesPerSecondPerIp, rate, "messages");
        }
        let rate = self.block.rate(config.bytes_per_second_per_ip);
        if !self.bytes.try_take(bytes, rate, now) {
            return close(Cause::BytesPerSecondPerIp, rate, "bytes");
        }
        Ok(())
    }

    /// Returns whether replacing this block with a new one would change no limit, apart from [`NEGLIGIBLE`].
    fn is_idle(&self, now: Duration) -> bool {
        self.connections.load(Ordering::Relaxed) == 0
            && self.peers.load(Ordering::Relaxed) == 0
            && self.joins.is_full(now)
            && [&self.messages, &self.bytes].iter().all(|bucket| bucket.is_full(now + NEGLIGIBLE))
    }
}

/// Removes blocks without a connection or recent use. Rare: it runs only when the table would grow.
fn remove_idle(blocks: &mut HashMap<IpBlock, Arc<Usage>>, now: Duration) {
    blocks.retain(|_, usage| !usage.is_idle(now));
    if blocks.capacity() > 4 * blocks.len().max(KEPT_CAPACITY) {
        blocks.shrink_to(2 * blocks.len());
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Self(usage) = self;
        if usage.connections.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        // Without a limiter, the hub no longer exists.
        let Some(limiter) = usage.limiter.upgrade() else { return };
        let mut blocks = limiter.blocks.lock().expect("nothing panics under this lock");
        // Meanwhile another connection may have been counted, or a new block inserted.
        if blocks.get(&usage.block).is_some_and(|usage| usage.is_idle(limiter.clock())) {
            blocks.remove(&usage.block);
        }
    }
}

impl Drop for CountedPeer {
    fn drop(&mut self) {
        self.0.peers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Returns the slot before the connection, so that both are dropped in this order, as in the hub.
    fn join(limiter: &Arc<IpLimiter>, address: &str, config: &Config) -> (Result<IpSlot, Rejection>, IpConnection) {
        let connection = limiter.connect(ip(address));
        let slot = connection.join(config, limiter.clock());
        (slot, connection)
    }

    #[tokio::test(start_paused = true)]
    async fn ipv6_48_network_has_four_times_the_limits_of_one_ip() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        let config = Config { max_peers_per_ip: 2, joins_per_second_per_ip: 5, ..Config::default() };
        let peer = |network: usize| join(&limiter, &format!("2001:db8:0:{network:x}::1"), &config);
        let mut peers: Vec<_> = (0..8).map(peer).collect();
        assert!(peers.iter().all(|(slot, _)| slot.is_ok()));
        let reason = |(slot, _): (Result<IpSlot, Rejection>, _)| slot.err().map(|error| error.reason().to_owned());
        assert_eq!(reason(peer(8)).as_deref(), Some("peer limit of your /48 network reached (8)"));
        assert!(join(&limiter, "2001:db8:1::1", &config).0.is_ok(), "another network");
        peers.pop();
        let ninth = peer(9);
        assert!(ninth.0.is_ok(), "a peer that left makes room for another one");
        // Ten joins so far.
        for network in 10..20 {
            assert_eq!(reason(peer(network)).as_deref(), Some("peer limit of your /48 network reached (8)"));
        }
        assert_eq!(reason(peer(20)).as_deref(), Some("more than 20 joins per second from your /48 network"));

        let _closing: Vec<_> =
            (0..7).map(|network| limiter.connect(ip(&format!("2001:db8:0:{network:x}::2")))).collect();
        assert!(ninth.1.check(&config).is_ok(), "15 connections");
        let last = [limiter.connect(ip("2001:db8:0:30::1")), limiter.connect(ip("2001:db8:0:31::1"))];
        let error = last[1].check(&config).expect_err("17 connections");
        assert_eq!(error.reason(), "connection limit of your /48 network reached (16)");
    }

    #[tokio::test(start_paused = true)]
    async fn block_is_removed_with_its_last_connection() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        let known = || limiter.blocks.lock().expect("nothing panicked").len();
        let first = join(&limiter, "2001:db8::1", &Config::default());
        let second = join(&limiter, "2001:db8:0:1::1", &Config::default());
        let third = join(&limiter, "192.0.2.1", &Config::default());
        assert_eq!(known(), 4, "one /48 network, two /64 networks and one IPv4 address");
        tokio::time::advance(Duration::from_secs(1)).await;
        let received = |messages| {
            let slot = second.0.as_ref().expect("the first peer of this IP");
            slot.count_received(messages, 1000, &Config::default(), limiter.clock()).expect("within the limits");
        };
        received(100);
        drop(second);
        assert_eq!(known(), 3);
        drop((first, third));
        assert_eq!(known(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_of_one_ip_share_its_rates_even_if_none_of_them_stays() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        let config = Config { messages_per_second_per_ip: 100, bytes_per_second_per_ip: 1000, ..Config::default() };
        let count = |address: &str, messages, bytes| {
            let slot = join(&limiter, address, &config).0.expect("the peers are within the limits");
            slot.count_received(messages, bytes, &config, limiter.clock()).err().and_then(|close| close.cause())
        };
        assert_eq!(count("2001:db8::1", 60, 600), None);
        assert_eq!(count("2001:db8::2", 41, 0), Some(Cause::MessagesPerSecondPerIp));
        assert_eq!(count("2001:db8::2", 0, 401), Some(Cause::BytesPerSecondPerIp));
        assert_eq!(count("2001:db8::2", 40, 400), None);
        assert_eq!(count("192.0.2.1", 100, 1000), None, "another IP has its own rates");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(count("2001:db8::3", 100, 1000), None);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_count_until_they_end_and_peers_until_they_leave() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        let config = Config { max_peers_per_ip: 2, ..Config::default() };
        let cause = |result: Result<IpSlot, Rejection>| result.err().map(|rejection| rejection.cause());
        let [first, second] = [(); 2].map(|()| join(&limiter, "192.0.2.1", &config));
        assert!(first.0.is_ok() && second.0.is_ok());
        let (rejected, third) = join(&limiter, "192.0.2.1", &config);
        assert_eq!(cause(rejected), Some(Cause::MaxPeersPerIp));
        drop(first.0);
        let (joined, fourth) = join(&limiter, "192.0.2.1", &config);
        assert!(joined.is_ok(), "a peer in its close handshake is a connection only");
        assert!(fourth.check(&config).is_ok(), "four connections");
        let fifth = limiter.connect(ip("192.0.2.1"));
        assert_eq!(fifth.check(&config).map_err(|rejection| rejection.cause()), Err(Cause::MaxPeersPerIp));
        drop(third);
        assert!(fifth.check(&config).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_without_peers_are_removed() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        for n in 0..100_000_u32 {
            let connection = limiter.connect(IpAddr::V4(n.into()));
            drop(connection.join(&Config::default(), limiter.clock()).expect("the first peer of this IP"));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let known = limiter.blocks.lock().expect("nothing panicked").len();
        assert!(known <= 4 * KEPT_CAPACITY, "{known}");
    }
}
