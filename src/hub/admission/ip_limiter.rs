//! The peers and the rates of each client IP.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::rejection::Rejection;
use crate::hub::close::Close;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::token_bucket::SharedTokenBucket;
use crate::protocol::CloseCode;

/// Counts what the peers of each IP block use.
#[derive(Debug)]
pub(in crate::hub) struct IpLimiter {
    blocks: Mutex<HashMap<IpBlock, Arc<Usage>>>,
    /// The zero of the hub's clock.
    epoch: Instant,
}

/// The addresses that share one limit: an IPv4 address, or an IPv6 /64 network, the smallest that a customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct IpBlock(u64);

/// What the peers of one block use. The relay reads and writes it without a lock.
#[derive(Debug)]
struct Usage {
    block: IpBlock,
    limiter: Weak<IpLimiter>,
    peers: AtomicUsize,
    joins: SharedTokenBucket,
    messages: SharedTokenBucket,
    bytes: SharedTokenBucket,
}

/// The slot of one peer in the limits of its IP block. Dropping it releases the slot.
pub(in crate::hub) struct IpSlot(Arc<Usage>);

/// The number of blocks to keep before those without peers are removed.
const KEPT_CAPACITY: usize = 1024;

impl IpLimiter {
    pub(in crate::hub) fn new(epoch: Instant) -> Self {
        Self { blocks: Mutex::default(), epoch }
    }

    /// Counts a join from `ip` and takes a slot, unless that would exceed a limit. A join over the limit of peers still
    /// counts against the join rate.
    pub(in crate::hub) fn acquire(self: &Arc<Self>, ip: IpAddr, config: &Config) -> Result<IpSlot, Rejection> {
        let now = self.clock();
        let block = IpBlock::from(ip);
        let mut blocks = self.blocks.lock().expect("nothing panics under this lock");
        if blocks.len() == blocks.capacity().max(KEPT_CAPACITY) {
            remove_idle(&mut blocks, now);
        }
        let usage = blocks.entry(block).or_insert_with(|| Arc::new(Usage::new(block, Arc::downgrade(self))));
        if !usage.joins.try_take(1, config.joins_per_second_per_ip.into(), now) {
            let reason = format!("more than {} joins per second from your IP", config.joins_per_second_per_ip);
            return Err(Rejection::by(Cause::JoinsPerSecondPerIp, CloseCode::TryAgainLater, reason));
        }
        if usage.peers.load(Ordering::Relaxed) >= config.max_peers_per_ip {
            let reason = format!("peer limit of your IP reached ({})", config.max_peers_per_ip);
            return Err(Rejection::by(Cause::MaxPeersPerIp, CloseCode::TryAgainLater, reason));
        }
        // Under the lock, so that a block that is removed has no peers.
        usage.peers.fetch_add(1, Ordering::Relaxed);
        Ok(IpSlot(usage.clone()))
    }

    fn clock(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}

impl IpSlot {
    /// Counts what a peer of this IP sent.
    pub(in crate::hub) fn count_received(
        &self,
        messages: usize,
        bytes: usize,
        config: &Config,
        now: Duration,
    ) -> Result<(), Close> {
        let Self(usage) = self;
        if !usage.messages.try_take(messages, config.messages_per_second_per_ip.into(), now) {
            let reason = format!("more than {} messages per second from your IP", config.messages_per_second_per_ip);
            return Err(Close::by(Cause::MessagesPerSecondPerIp, CloseCode::TryAgainLater, reason));
        }
        if !usage.bytes.try_take(bytes, config.bytes_per_second_per_ip.into(), now) {
            let reason = format!("more than {} bytes per second from your IP", config.bytes_per_second_per_ip);
            return Err(Close::by(Cause::BytesPerSecondPerIp, CloseCode::TryAgainLater, reason));
        }
        Ok(())
    }
}

impl Usage {
    fn new(block: IpBlock, limiter: Weak<IpLimiter>) -> Self {
        let peers = AtomicUsize::new(0);
        let [joins, messages, bytes] = Default::default();
        Self { block, limiter, peers, joins, messages, bytes }
    }

    /// Returns whether a new block would allow the same.
    fn is_idle(&self, now: Duration) -> bool {
        self.peers.load(Ordering::Relaxed) == 0
            && [&self.joins, &self.messages, &self.bytes].iter().all(|bucket| bucket.is_full(now))
    }
}

/// Removes blocks without a peer or recent use. Rare: it runs only when the table would grow.
fn remove_idle(blocks: &mut HashMap<IpBlock, Arc<Usage>>, now: Duration) {
    blocks.retain(|_, usage| !usage.is_idle(now));
    if blocks.capacity() > 4 * blocks.len().max(KEPT_CAPACITY) {
        blocks.shrink_to(2 * blocks.len());
    }
}

impl From<IpAddr> for IpBlock {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // No IPv6 network in use begins with 32 zeros.
            IpAddr::V4(ip) => Self(u32::from(ip).into()),
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64),
        }
    }
}

impl Drop for IpSlot {
    fn drop(&mut self) {
        let Self(usage) = self;
        if usage.peers.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        // Without a limiter, the hub no longer exists.
        let Some(limiter) = usage.limiter.upgrade() else { return };
        let mut blocks = limiter.blocks.lock().expect("nothing panics under this lock");
        // Another peer may have come, or the block may be another one by now.
        if blocks.get(&usage.block).is_some_and(|usage| usage.is_idle(limiter.clock())) {
            blocks.remove(&usage.block);
        }
    }
}

impl fmt::Debug for IpSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IpSlot").field(&self.0.block).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ipv6_is_counted_by_64_network_and_mapped_addresses_as_ipv4() {
        let block = |text| IpBlock::from(ip(text));
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:0:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_ne!(block("::1"), block("0.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn peers_of_one_ip_share_its_rates_even_if_none_of_them_stays() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        let config = Config { messages_per_second_per_ip: 100, bytes_per_second_per_ip: 1000, ..Config::default() };
        let count = |address: &str, messages, bytes| {
            let slot = limiter.acquire(ip(address), &config).expect("the peers are within the limits");
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
    async fn blocks_without_peers_are_removed() {
        let limiter = Arc::new(IpLimiter::new(Instant::now()));
        for n in 0..100_000_u32 {
            drop(limiter.acquire(IpAddr::V4(n.into()), &Config::default()).expect("the first peer of this IP"));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let known = limiter.blocks.lock().expect("nothing panicked").len();
        assert!(known <= 4 * KEPT_CAPACITY, "{known}");
    }
}
