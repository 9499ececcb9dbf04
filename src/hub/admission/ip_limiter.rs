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
    blocks: Mutex<Blocks>,
    /// The zero of the hub's clock.
    epoch: Instant,
}

/// The blocks in use, and others until they are removed.
#[derive(Debug)]
struct Blocks {
    usages: HashMap<IpBlock, Arc<Usage>>,
    /// The number of blocks at which a new block first removes the idle ones.
    cleanup_at: usize,
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
    /// In the unit of [`message_work`](crate::hub::limits::config::message_work).
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
        let mut count = |block| {
            let new = || Usage::new(block, Arc::downgrade(self));
            let usage = blocks.find_or_add(block, new, || self.clock());
            usage.connections.fetch_add(1, Ordering::Relaxed);
            CountedConnection(usage)
        };
        IpConnection { ip: count(ip), network: network.map(count) }
    }

    fn clock(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self { usages: HashMap::new(), cleanup_at: KEPT_CAPACITY }
    }
}

impl Blocks {
    /// Returns the usage of a block. A new block removes the idle ones, but only if enough blocks were added
    /// since the last time: otherwise each connection could cost a scan of the table.
    fn find_or_add(
        &mut self,
        block: IpBlock,
        new: impl FnOnce() -> Usage,
        clock: impl FnOnce() -> Duration,
    ) -> Arc<Usage> {
        if let Some(usage) = self.usages.get(&block) {
            return usage.clone();
        }
        if self.usages.len() >= self.cleanup_at {
            self.remove_idle(clock());
        }
        let usage = Arc::new(new());
        self.usages.insert(block, usage.clone());
        usage
    }

    /// Removes blocks without a connection or recent use. The number of blocks must double until the next time, so a
    /// scan visits at most two blocks for each one that was added.
    fn remove_idle(&mut self, now: Duration) {
        self.usages.retain(|_, usage| !usage.is_idle(now));
        self.cleanup_at = (2 * self.usages.len()).max(KEPT_CAPACITY);
        self.usages.shrink_to(self.cleanup_at);
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
        self.count_join(config, now)?;
        let ip = Usage::count_peer(&self.ip.0, config)?;
        let network = self.network.as_ref().map(|network| Usage::count_peer(&network.0, config)).transpose()?;
        Ok(IpSlot { ip, network })
    }

    /// Counts a join against the join rate, without a slot.
    pub(in crate::hub) fn count_join(&self, config: &Config, now: Duration) -> Result<(), Rejection> {
        self.usages().try_for_each(|usage| usage.count_join(config, now))
    }

    fn usages(&self) -> impl Iterator<Item = &Usage> {
        [Some(&self.ip), self.network.as_ref()].into_iter().flatten().map(|counted| &*counted.0)
    }
}

impl IpSlot {
    /// Counts what the peer sent. `work` counts against the rate of messages.
    pub(in crate::hub) fn count_received(
        &self,
        work: usize,
        bytes: usize,
        config: &Config,
        now: Duration,
    ) -> Result<(), Close> {
        let counted = [Some(&self.ip), self.network.as_ref()].into_iter().flatten();
        counted.map(|counted| &counted.0).try_for_each(|usage| usage.count_received(work, bytes, config, now))
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

    fn count_received(&self, work: usize, bytes: usize, config: &Config, now: Duration) -> Result<(), Close> {
        let close = |cause, rate, what| {
            let reason = format!("more than {rate} {what} per second from your {}", self.block);
            Err(Close::by(cause, CloseCode::TryAgainLater, reason))
        };
        let rate = self.block.rate(config.messages_per_second_per_ip);
        if !self.messages.try_take(work, rate, now) {
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
        if blocks.usages.get(&usage.block).is_some_and(|usage| usage.is_idle(limiter.clock())) {
            blocks.usages.remove(&usage.block);
        }
    }
}

impl Drop for CountedPeer {
    fn drop(&mut self) {
        self.0.peers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
