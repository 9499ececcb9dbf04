//! How many peers come from where.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Refusal;
use crate::hub::rate::Bucket;
use crate::hub::{Guard, Shared};
use crate::protocol::CloseCode;

/// The peers of each address, and how many came lately.
#[derive(Debug, Default)]
pub(in crate::hub) struct Addresses {
    sources: Mutex<HashMap<Source, Peers>>,
}

/// Who is counted as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(u64);

#[derive(Debug, Default)]
struct Peers {
    open: usize,
    opens: Bucket,
}

/// One peer of an address, for as long as it lives.
pub(super) struct Place {
    shared: Arc<Shared>,
    source: Source,
}

/// How many sources without a peer may be remembered before they are looked through.
const KEPT_CAPACITY: usize = 1024;

impl Addresses {
    pub(super) fn enter(shared: &Arc<Shared>, address: IpAddr) -> Result<Place, Refusal> {
        let limits = &shared.limits;
        let now = shared.clock();
        let source = Source::from(address);
        let mut sources = shared.addresses.sources.lock().expect("nothing panics under this lock");
        if sources.len() == sources.capacity().max(KEPT_CAPACITY) {
            forget(&mut sources, now);
        }
        let peers = sources.entry(source).or_default();
        if !peers.opens.take(1, limits.opens_per_second, now) {
            let reason = format!("more than {} new peers a second from your address", limits.opens_per_second);
            return Err(Refusal::by(Guard::OpensPerSecond, CloseCode::TryAgainLater, reason));
        }
        if peers.open >= limits.max_peers_per_address {
            let reason = format!("there are {} peers from your address already", limits.max_peers_per_address);
            return Err(Refusal::by(Guard::MaxPeersPerAddress, CloseCode::TryAgainLater, reason));
        }
        peers.open += 1;
        Ok(Place { shared: shared.clone(), source })
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        self.sources.lock().expect("nothing panics under this lock").len()
    }
}

/// Drops those that have no peer and came long enough ago. Rare: each time the table would grow.
fn forget(sources: &mut HashMap<Source, Peers>, now: Duration) {
    sources.retain(|_, peers| peers.open > 0 || !peers.opens.is_empty(now));
    if sources.capacity() > 4 * sources.len().max(KEPT_CAPACITY) {
        sources.shrink_to(2 * sources.len());
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // No network of IPv6 that anybody has begins with 32 zeros.
            IpAddr::V4(address) => Self(u32::from(address).into()),
            IpAddr::V6(address) => Self((u128::from(address) >> 64) as u64),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.shared.addresses.sources.lock().expect("nothing panics under this lock");
        let peers = sources.get_mut(&self.source).expect("a source is known for as long as it has a peer");
        peers.open -= 1;
        if peers.open == 0 && peers.opens.is_empty(self.shared.clock()) {
            sources.remove(&self.source);
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::SignalingHub;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_a_mapped_address_as_ipv4() {
        let source = |text| Source::from(address(text));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_ne!(source("::1"), source("0.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_without_peers_are_forgotten() {
        let hub = SignalingHub::builder().build().expect("the default limits");
        for n in 0..100_000_u32 {
            drop(Addresses::enter(&hub.shared, IpAddr::V4(n.into())).expect("the first one"));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let known = hub.shared.addresses.known();
        assert!(known <= 4 * KEPT_CAPACITY, "{known}");
    }
}
