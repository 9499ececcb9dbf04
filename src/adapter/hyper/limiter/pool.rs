//! Connections in the order in which they came, limited in total and per IP.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::close_cause::CloseCause;
use crate::hub::IpBlock;

/// The idle connections of a limiter, or the busy ones.
#[derive(Debug)]
pub(super) struct Pool {
    limits: PoolLimits,
    places: BTreeSet<Place>,
    /// The places that count against the limit of each block.
    by_block: HashMap<IpBlock, BTreeSet<Place>>,
}

/// The maximum number of connections in a pool, and what closes one that exceeds it.
#[derive(Clone, Debug)]
pub(super) struct PoolLimits {
    pub(super) max: (usize, CloseCause),
    pub(super) max_per_ip: (usize, CloseCause),
}

/// The place of a connection in a pool. An older connection has a lower place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) id: u64,
}

/// The blocks of a client, the smallest first. Without blocks, a connection counts in total only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blocks([Option<IpBlock>; 2]);

impl Blocks {
    pub(super) fn of(client: IpAddr) -> Self {
        let (ip, network) = IpBlock::of(client);
        Self([Some(ip), network])
    }

    fn iter(self) -> impl Iterator<Item = IpBlock> {
        self.0.into_iter().flatten()
    }
}

impl Pool {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self { limits, places: BTreeSet::new(), by_block: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn insert(&mut self, place: Place, blocks: Blocks) {
        self.places.insert(place);
        for block in blocks.iter() {
            self.by_block.entry(block).or_default().insert(place);
        }
    }

    pub(super) fn remove(&mut self, place: Place, blocks: Blocks) {
        self.places.remove(&place);
        for block in blocks.iter() {
            let places = self.by_block.get_mut(&block).expect("a place with a block is in its set");
            places.remove(&place);
            if places.is_empty() {
                self.by_block.remove(&block);
            }
        }
    }

    /// Returns the oldest connection under the limit that the connections of these blocks exceed, and the limit. The
    /// smallest block is first, and its connections are in the larger blocks as well.
    pub(super) fn over_limit(&self, blocks: Blocks) -> Option<(u64, CloseCause)> {
        let PoolLimits { max, max_per_ip } = self.limits;
        let oldest_over = |places: &BTreeSet<Place>, max, cause| {
            let oldest = places.first().filter(|_| places.len() > max)?;
            Some((oldest.id, cause))
        };
        let of_block =
            |block: IpBlock| oldest_over(self.by_block.get(&block)?, block.limit(max_per_ip.0), max_per_ip.1);
        blocks.iter().find_map(of_block).or_else(|| oldest_over(&self.places, max.0, max.1))
    }

    /// Returns the oldest connection except this one.
    pub(super) fn oldest_except(&self, id: Option<u64>) -> Option<u64> {
        self.places.iter().map(|place| place.id).find(|oldest| Some(*oldest) != id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.by_block.is_empty()
    }
}
