//! Which server has a key.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::Address;
use super::sentinel::Sentinels;
use crate::cluster::BackplaneError;

/// Which server to send a call to.
pub(super) enum Routes {
    Nodes(Nodes),
    Sentinels(Sentinels),
}

/// One server, or nodes of a Redis Cluster.
pub(super) struct Nodes {
    /// The addresses of the URL.
    addresses: Vec<Address>,
    /// The index of the address for slots without a known owner.
    current: AtomicUsize,
    /// The owners of slots, as far as servers have redirected calls to them.
    owners: Mutex<HashMap<u16, Address>>,
}

impl Routes {
    /// Returns the server of a slot.
    pub(super) async fn find(&self, slot: u16) -> Result<Address, BackplaneError> {
        match self {
            Self::Nodes(nodes) => Ok(nodes.find(slot)),
            Self::Sentinels(sentinels) => sentinels.primary().await,
        }
    }

    /// Returns the servers of the URL. Those of Sentinels are the primary.
    pub(super) async fn listed(&self) -> Result<Vec<Address>, BackplaneError> {
        match self {
            Self::Nodes(nodes) => Ok(nodes.addresses.clone()),
            Self::Sentinels(sentinels) => Ok(vec![sentinels.primary().await?]),
        }
    }

    /// Notes that a server redirected the calls for a slot to another one.
    pub(super) fn moved(&self, slot: u16, owner: Address) {
        if let Self::Nodes(nodes) = self {
            nodes.owners().insert(slot, owner);
        }
    }

    /// Notes that a server did not answer, or is not the primary any more.
    pub(super) fn failed(&self, address: &Address) {
        match self {
            Self::Nodes(nodes) => nodes.failed(address),
            Self::Sentinels(sentinels) => sentinels.failed(address),
        }
    }
}

impl Nodes {
    pub(super) fn new(addresses: Vec<Address>) -> Self {
        Self { addresses, current: AtomicUsize::new(0), owners: Mutex::default() }
    }

    fn find(&self, slot: u16) -> Address {
        self.owners().get(&slot).unwrap_or_else(|| self.current().1).clone()
    }

    fn failed(&self, address: &Address) {
        self.owners().retain(|_, owner| owner != address);
        let (index, current) = self.current();
        if current == address {
            // If another call has changed it, it stays.
            _ = self.current.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn current(&self) -> (usize, &Address) {
        let index = self.current.load(Ordering::Relaxed);
        (index, &self.addresses[index % self.addresses.len()])
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<u16, Address>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the slot of a key in a Redis Cluster: that of its hash tag if it has one.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % 16384
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> [Address; 3] {
        [1, 2, 3].map(|port| Address { host: "h".to_owned(), port })
    }

    #[test]
    fn slot_is_that_of_the_hash_tag() {
        // From the specification of Redis Cluster.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12182);
        for key in ["{foo}", "a{foo}b", "a{foo}{bar}", "a{foo}}"] {
            assert_eq!(slot(key), 12182, "{key}");
        }
        assert_ne!(slot("{}foo"), 12182);
    }

    #[test]
    fn slot_goes_to_the_server_that_was_named_until_that_one_fails() {
        let [a, b, c] = addresses();
        let nodes = Nodes::new(vec![a.clone(), b.clone()]);
        let routes = Routes::Nodes(nodes);
        let find = |slot| {
            let Routes::Nodes(nodes) = &routes else { unreachable!() };
            nodes.find(slot)
        };
        assert_eq!((find(1), find(2)), (a.clone(), a.clone()));
        routes.moved(1, c.clone());
        assert_eq!((find(1), find(2)), (c.clone(), a.clone()));
        routes.failed(&c);
        assert_eq!((find(1), find(2)), (a.clone(), a.clone()));
        routes.failed(&a);
        assert_eq!((find(1), find(2)), (b.clone(), b.clone()));
        routes.failed(&a);
        assert_eq!(find(1), b, "it was not the one in use");
        routes.failed(&b);
        assert_eq!(find(1), a);
    }
}
