//! The ids that neighbours list and that this peer is not connected to, and when to attempt them.
//!
//! A neighbour can list peers that do not exist, so it has a limited number of places for its ids. Only ids with a place
//! are attempted, with a back-off. An id leaves its place when it is met. Otherwise it keeps the place for 30 s, even if
//! the neighbour no longer lists it. New ids therefore cost no more attempts than old ones, and all ids get their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::limits::{MAX_PLACES, OFFER_DELAY, PLACE_TIME, RETRY_MAX, RETRY_MIN, back_off};

#[derive(Debug, Default)]
pub(crate) struct Discovery {
    ids: BTreeMap<u32, Unmet>,
    neighbours: BTreeMap<u32, Listed>,
}

#[derive(Debug)]
struct Unmet {
    failures: u32,
    /// `None` while an attempt is under way.
    due: Option<Instant>,
    placed: Instant,
}

#[derive(Debug, Default)]
struct Listed {
    ids: BTreeSet<u32>,
    /// Since when ids have a place.
    places: BTreeMap<u32, Instant>,
}

impl Discovery {
    /// Replaces the ids that a neighbour lists. `own` is this peer's id: it waits for offers of lower ids.
    pub(crate) fn update(&mut self, own: u32, neighbour: u32, ids: BTreeSet<u32>, now: Instant) {
        let listed = self.neighbours.entry(neighbour).or_default();
        listed.ids = ids;
        listed.places.retain(|_, since| now.saturating_duration_since(*since) < PLACE_TIME);
        let mut waiting: Vec<_> = listed.ids.iter().copied().filter(|id| !listed.places.contains_key(id)).collect();
        waiting.sort_by_key(|id| self.ids.get(id).map(|unmet| unmet.placed));
        for id in waiting.into_iter().take(MAX_PLACES.saturating_sub(listed.places.len())) {
            listed.places.insert(id, now);
            let delay = if own < id { std::time::Duration::ZERO } else { OFFER_DELAY };
            self.ids.entry(id).or_insert(Unmet { failures: 0, due: Some(now + delay), placed: now }).placed = now;
        }
        self.forget();
    }

    /// The ids to attempt now, those first that failed less often.
    pub(crate) fn due(&self, now: Instant) -> Vec<u32> {
        let has_place = |id| self.neighbours.values().any(|listed| listed.places.contains_key(id));
        let mut due: Vec<_> = self
            .ids
            .iter()
            .filter(|(id, unmet)| unmet.due.is_some_and(|due| due <= now) && has_place(id))
            .map(|(&id, unmet)| (unmet.failures, id))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// The next time after `now` at which an id becomes due.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        self.ids.values().filter_map(|unmet| unmet.due).filter(|&due| due > now).min()
    }

    pub(crate) fn begin(&mut self, id: u32) {
        if let Some(unmet) = self.ids.get_mut(&id) {
            unmet.due = None;
        }
    }

    /// An attempt failed.
    pub(crate) fn retry(&mut self, id: u32, now: Instant, rng: &mut fastrand::Rng) {
        if let Some(unmet) = self.ids.get_mut(&id)
            && unmet.due.is_none()
        {
            unmet.due = Some(now + back_off(rng, RETRY_MIN, RETRY_MAX, unmet.failures));
            unmet.failures += 1;
        }
    }

    /// The id is met, or has left.
    pub(crate) fn remove(&mut self, id: u32) {
        self.ids.remove(&id);
        for listed in self.neighbours.values_mut() {
            listed.ids.remove(&id);
            listed.places.remove(&id);
        }
    }

    pub(crate) fn remove_neighbour(&mut self, neighbour: u32) {
        self.neighbours.remove(&neighbour);
        self.forget();
    }

    /// Forgets the ids that no neighbour lists and that have no place.
    fn forget(&mut self) {
        let neighbours = &self.neighbours;
        self.ids.retain(|id, _| {
            neighbours.values().any(|listed| listed.ids.contains(id) || listed.places.contains_key(id))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NEIGHBOUR: u32 = 1;

    fn ids(range: std::ops::Range<u32>) -> BTreeSet<u32> {
        range.collect()
    }

    #[test]
    fn neighbour_has_8_places_at_once() {
        let (mut discovery, now) = (Discovery::default(), Instant::now());
        discovery.update(5, NEIGHBOUR, ids(10..1_010), now);
        assert_eq!(discovery.due(now).len(), 8);
        for id in discovery.due(now) {
            discovery.begin(id);
        }
        discovery.update(5, NEIGHBOUR, ids(10..1_010), now + Duration::from_secs(29));
        assert!(discovery.due(now + Duration::from_secs(29)).is_empty());
    }

    #[test]
    fn next_place_goes_to_the_id_that_had_none_for_the_longest_time() {
        let (mut discovery, mut now) = (Discovery::default(), Instant::now());
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            discovery.update(5, NEIGHBOUR, ids(10..34), now);
            for id in discovery.due(now) {
                discovery.begin(id);
                assert!(seen.insert(id), "{id} had a place before");
            }
            now += PLACE_TIME;
        }
        assert_eq!(seen, ids(10..34));
    }

    #[test]
    fn higher_id_waits_for_the_offer_of_the_lower_one() {
        let (mut discovery, now) = (Discovery::default(), Instant::now());
        discovery.update(15, NEIGHBOUR, [10, 20].into(), now);
        assert_eq!(discovery.due(now), [20]);
        assert_eq!(discovery.next_timeout(now), Some(now + OFFER_DELAY));
        assert_eq!(discovery.due(now + OFFER_DELAY), [10, 20]);
    }

    #[test]
    fn failed_attempts_back_off_and_come_after_fresh_ones() {
        let (mut discovery, now) = (Discovery::default(), Instant::now());
        let mut rng = fastrand::Rng::with_seed(7);
        discovery.update(5, NEIGHBOUR, [10].into(), now);
        discovery.begin(10);
        assert_eq!(discovery.next_timeout(now), None);
        discovery.retry(10, now, &mut rng);
        let wait = discovery.next_timeout(now).expect("waits") - now;
        assert!(wait >= RETRY_MIN / 2 && wait <= RETRY_MIN);
        discovery.update(5, NEIGHBOUR, [10, 20].into(), now + RETRY_MIN);
        assert_eq!(discovery.due(now + RETRY_MIN), [20, 10]);
    }

    #[test]
    fn id_that_nobody_lists_is_forgotten_with_its_back_off() {
        let (mut discovery, now) = (Discovery::default(), Instant::now());
        discovery.update(5, NEIGHBOUR, [10].into(), now);
        discovery.update(5, NEIGHBOUR, [].into(), now + Duration::from_secs(1));
        assert_eq!(discovery.ids.len(), 1, "it has its place");
        discovery.update(5, NEIGHBOUR, [].into(), now + PLACE_TIME);
        assert_eq!(discovery.ids.len(), 0);
        discovery.update(5, NEIGHBOUR, [10].into(), now + PLACE_TIME);
        discovery.remove_neighbour(NEIGHBOUR);
        assert_eq!(discovery.ids.len(), 0);
    }
}
