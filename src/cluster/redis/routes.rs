//! Which server has a key.

use std::collections::HashMap;
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
    listed: Vec<Address>,
    known: Mutex<Known>,
}

/// What calls have shown of a Redis Cluster.
struct Known {
    /// The listed servers, and then others that own slots.
    servers: Vec<Address>,
    /// The index of the server for slots without a known owner.
    current: usize,
    /// The owners of slots, as far as servers have redirected calls to them.
    owners: HashMap<u16, Address>,
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
            Self::Nodes(nodes) => Ok(nodes.listed.clone()),
            Self::Sentinels(sentinels) => Ok(vec![sentinels.primary().await?]),
        }
    }

    /// Notes that a server redirected the calls for a slot to another one.
    pub(super) fn moved(&self, slot: u16, owner: Address) {
        if let Self::Nodes(nodes) = self {
            nodes.moved(slot, owner);
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
    pub(super) fn new(listed: Vec<Address>) -> Self {
        let known = Known { servers: listed.clone(), current: 0, owners: HashMap::new() };
        Self { listed, known: Mutex::new(known) }
    }

    fn find(&self, slot: u16) -> Address {
        let Known { servers, current, owners } = &*self.known();
        owners.get(&slot).unwrap_or(&servers[*current]).clone()
    }

    fn moved(&self, slot: u16, owner: Address) {
        let known = &mut *self.known();
        if !known.servers.contains(&owner) {
            known.servers.push(owner.clone());
        }
        known.owners.insert(slot, owner);
    }

    fn failed(&self, address: &Address) {
        let known = &mut *self.known();
        known.owners.retain(|_, owner| owner != address);
        let Some(index) = known.servers.iter().position(|server| server == address) else { return };
        if index >= self.listed.len() {
            // It may be gone for good.
            known.servers.remove(index);
            known.current -= usize::from(known.current > index);
        } else if index == known.current {
            known.current += 1;
        }
        known.current %= known.servers.len();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!([nodes.find(1), nodes.find(2)], [a.clone(), a.clone()]);
        nodes.moved(1, c.clone());
        assert_eq!([nodes.find(1), nodes.find(2)], [c.clone(), a.clone()]);
        nodes.failed(&c);
        assert_eq!([nodes.find(1), nodes.find(2)], [a.clone(), a.clone()]);
        nodes.failed(&a);
        assert_eq!([nodes.find(1), nodes.find(2)], [b.clone(), b.clone()]);
        nodes.failed(&a);
        assert_eq!(nodes.find(1), b, "it was not the one in use");
        nodes.failed(&b);
        assert_eq!(nodes.find(1), a);
    }

    #[test]
    fn other_servers_are_asked_if_no_listed_one_answers() {
        let [a, b, c] = addresses();
        let nodes = Nodes::new(vec![a.clone()]);
        nodes.moved(1, b.clone());
        nodes.moved(2, c.clone());
        nodes.failed(&a);
        assert_eq!(nodes.find(3), b);
        nodes.failed(&b);
        assert_eq!([nodes.find(1), nodes.find(2), nodes.find(3)], [c.clone(), c.clone(), c.clone()]);
        nodes.failed(&c);
        assert_eq!([nodes.find(1), nodes.find(2)], [a.clone(), a.clone()], "the others are forgotten");
        nodes.failed(&a);
        assert_eq!(nodes.find(1), a, "no other one is left");
    }
}
