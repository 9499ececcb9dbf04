//! The number of peers and the join rate of each client IP.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::rejection::Rejection;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::token_bucket::TokenBucket;
use crate::protocol::CloseCode;

/// Counts the peers and recent joins of each IP block.
#[derive(Debug)]
pub(in crate::hub) struct IpLimiter {
    blocks: Mutex<HashMap<IpBlock, Peers>>,
    /// The zero of the hub's clock.
    epoch: Instant,
}

/// The addresses that share one limit: an IPv4 address, or an IPv6 /64 network, the smallest that a customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct IpBlock(u64);

#[derive(Debug, Default)]
struct Peers {
    connected: usize,
    joins: TokenBucket,
}

/// The slot of one peer in the limit of its IP block. Dropping it releases the slot.
pub(in crate::hub) struct IpSlot {
    limiter: Arc<IpLimiter>,
    block: IpBlock,
}

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
        let peers = blocks.entry(block).or_default();
        if !peers.joins.try_take(1, config.joins_per_second_per_ip, now) {
            let reason = format!("more than {} joins per second from your IP", config.joins_per_second_per_ip);
            return Err(Rejection::by(Cause::JoinsPerSecondPerIp, CloseCode::TryAgainLater, reason));
        }
        if peers.connected >= config.max_peers_per_ip {
            let reason = format!("peer limit of your IP reached ({})", config.max_peers_per_ip);
            return Err(Rejection::by(Cause::MaxPeersPerIp, CloseCode::TryAgainLater, reason));
        }
        peers.connected += 1;
        Ok(IpSlot { limiter: self.clone(), block })
    }

    fn clock(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}

/// Removes blocks without a peer or a recent join. Rare: it runs only when the table would grow.
fn remove_idle(blocks: &mut HashMap<IpBlock, Peers>, now: Duration) {
    blocks.retain(|_, peers| peers.connected > 0 || !peers.joins.is_full(now));
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
        let mut blocks = self.limiter.blocks.lock().expect("nothing panics under this lock");
        let peers = blocks.get_mut(&self.block).expect("a block stays while it has a peer");
        peers.connected -= 1;
        if peers.connected == 0 && peers.joins.is_full(self.limiter.clock()) {
            blocks.remove(&self.block);
        }
    }
}

impl fmt::Debug for IpSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IpSlot").field(&self.block).finish()
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
