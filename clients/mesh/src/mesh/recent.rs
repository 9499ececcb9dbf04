//! Ids that are remembered for 60 s.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::limits::{MAX_KNOWN_IDS, REMEMBER_FOR};

#[derive(Debug, Default)]
pub(crate) struct Recent {
    ids: BTreeMap<u32, Instant>,
}

impl Recent {
    /// Forgets the oldest id if there are more than 1 000.
    pub(crate) fn insert(&mut self, id: u32, now: Instant) {
        self.ids.insert(id, now);
        if self.ids.len() > MAX_KNOWN_IDS
            && let Some(oldest) = self.ids.iter().min_by_key(|(_, since)| **since).map(|(&id, _)| id)
        {
            self.ids.remove(&oldest);
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.ids.remove(&id);
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.ids.contains_key(&id)
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        self.ids.retain(|_, since| now.saturating_duration_since(*since) < REMEMBER_FOR);
    }

    /// The ids that were inserted longer ago than `age`.
    pub(crate) fn older_than(&self, age: Duration, now: Instant) -> impl Iterator<Item = u32> {
        self.ids.iter().filter(move |(_, since)| now.saturating_duration_since(**since) > age).map(|(&id, _)| id)
    }
}
