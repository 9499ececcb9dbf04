//! The open connections of a limiter: what each is doing, and which of them closes when a limit is reached.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::close_cause::{CloseCause, Closes};
use super::pool::{Blocks, Place, Pool, PoolLimits};
use crate::hub::{TrustedProxies, canonical};

/// The settings of a limiter.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: Option<Arc<str>>,
    pub(super) idle: PoolLimits,
    pub(super) busy: PoolLimits,
    /// Exempt from the limits per IP.
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) idle_timeout: Duration,
}

/// The open connections. Each operation takes O(log n) with n connections, and its lock is held for that time only.
pub(super) struct Table {
    trusted_proxies: TrustedProxies,
    idle_timeout: Duration,
    state: Mutex<State>,
    pub(super) closes: Closes,
}

struct State {
    /// The next id of a connection, or position in a pool.
    next: u64,
    entries: HashMap<u64, Entry>,
    idle: Pool,
    busy: Pool,
}

struct Entry {
    client: IpAddr,
    blocks: Blocks,
    requests: usize,
    /// The number of guards that keep the connection open.
    guards: usize,
    /// The position among the idle connections: that of the accept, or of the end of the last guard. It does not change
    /// with a request. Otherwise a client could stay among the youngest with cheap requests.
    idle_position: u64,
    /// The position since the connection is busy.
    busy_position: u64,
    idle_since: Instant,
    /// Notified when the connection is closed here, or when its deadline must be read again.
    changed: Arc<Notify>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// It has neither a request in progress nor a guard.
    Idle,
    Busy,
    /// A guard keeps it open.
    Kept,
}

/// What happens next to an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It must be checked again at this time, or when it changes.
    Check(Instant),
    Change,
}

/// A connection that was closed, to be reported without the lock.
struct Closed {
    entry: Entry,
    cause: CloseCause,
}

impl Table {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { name, idle, busy, trusted_proxies, idle_timeout } = settings;
        let (idle, busy) = (Pool::new(idle), Pool::new(busy));
        let state = Mutex::new(State { next: 0, entries: HashMap::new(), idle, busy });
        Self { trusted_proxies, idle_timeout, state, closes: Closes::new(name) }
    }

    /// Adds an idle connection. If that exceeds a limit, it closes the oldest one. Returns its id and what notifies it.
    pub(super) fn insert(&self, client: IpAddr) -> (u64, Arc<Notify>) {
        let client = canonical(client);
        let blocks = if self.trusted_proxies.trusts(client) { Blocks::default() } else { Blocks::of(client) };
        let changed = Arc::new(Notify::new());
        let mut state = self.lock();
        let id = state.next_number();
        let entry = Entry {
            client,
            blocks,
            requests: 0,
            guards: 0,
            idle_position: id,
            busy_position: id,
            idle_since: Instant::now(),
            changed: changed.clone(),
        };
        state.idle.insert(entry.place(id), blocks);
        state.entries.insert(id, entry);
        let closed = state.close_over_limit(Activity::Idle, blocks);
        drop(state);
        self.report(closed);
        (id, changed)
    }

    /// Removes a connection that has ended.
    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(id);
    }

    pub(super) fn begin_request(&self, id: u64) {
        self.update(id, |entry| entry.requests += 1);
    }

    pub(super) fn end_request(&self, id: u64) {
        self.update(id, |entry| entry.requests -= 1);
    }

    pub(super) fn add_guard(&self, id: u64) {
        self.update(id, |entry| entry.guards += 1);
    }

    pub(super) fn remove_guard(&self, id: u64) {
        self.update(id, |entry| entry.guards -= 1);
    }

    /// Returns what happens next to a connection, or `None` if it is closed. Closes it after the idle timeout.
    pub(super) fn next(&self, id: u64) -> Option<Next> {
        let mut state = self.lock();
        let entry = state.entries.get(&id)?;
        let now = Instant::now();
        let since = match entry.activity() {
            Activity::Idle => entry.idle_since,
            // The earliest time at which a connection that is idle later can have been idle for too long.
            Activity::Busy => now,
            Activity::Kept => return Some(Next::Change),
        };
        match since.checked_add(self.idle_timeout) {
            Some(deadline) if deadline <= now => {
                let closed = state.close(id, CloseCause::IdleTimeout);
                drop(state);
                self.report(closed);
                None
            }
            Some(deadline) => Some(Next::Check(deadline)),
            None => Some(Next::Change),
        }
    }

    /// Closes the oldest connection of the larger pool, except this one. Returns whether there was one.
    pub(super) fn close_oldest_except(&self, id: Option<u64>) -> bool {
        let mut state = self.lock();
        let mut pools = [&state.idle, &state.busy];
        pools.sort_by_key(|pool| std::cmp::Reverse(pool.len()));
        let oldest = pools.into_iter().find_map(|pool| pool.oldest_except(id));
        let closed = oldest.and_then(|id| state.close(id, CloseCause::FileDescriptors));
        drop(state);
        let found = closed.is_some();
        self.report(closed);
        found
    }

    /// Returns the number of idle connections.
    pub(super) fn idle(&self) -> usize {
        self.lock().idle.len()
    }

    /// Returns the number of busy connections.
    pub(super) fn busy(&self) -> usize {
        self.lock().busy.len()
    }

    /// Changes the counts of a connection, and moves it to the pool of its new activity. A connection that has been
    /// closed has no entry: its requests and guards end later.
    fn update(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        let mut state = self.lock();
        let (changed, closed) = state.update(id, change);
        drop(state);
        self.report(closed);
        if let Some(changed) = changed {
            changed.notify_one();
        }
    }

    fn report(&self, closed: Option<Closed>) {
        if let Some(Closed { entry, cause }) = closed {
            entry.changed.notify_one();
            self.closes.record(cause, entry.client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn pool(&mut self, activity: Activity) -> Option<&mut Pool> {
        match activity {
            Activity::Idle => Some(&mut self.idle),
            Activity::Busy => Some(&mut self.busy),
            Activity::Kept => None,
        }
    }

    /// Returns what to notify if the connection waits without a deadline, and the connection that closes.
    fn update(&mut self, id: u64, change: impl FnOnce(&mut Entry)) -> (Option<Arc<Notify>>, Option<Closed>) {
        let position = self.next_number();
        let Some(entry) = self.entries.get_mut(&id) else { return (None, None) };
        let (before, place, blocks) = (entry.activity(), entry.place(id), entry.blocks);
        change(entry);
        let after = entry.activity();
        if before == after {
            return (None, None);
        }
        match after {
            Activity::Idle => entry.idle_since = Instant::now(),
            Activity::Busy => entry.busy_position = position,
            Activity::Kept => {}
        }
        let changed = (before == Activity::Kept).then(|| {
            entry.idle_position = position;
            entry.changed.clone()
        });
        let new_place = entry.place(id);
        if let Some(pool) = self.pool(before) {
            pool.remove(place, blocks);
        }
        if let Some(pool) = self.pool(after) {
            pool.insert(new_place, blocks);
        }
        (changed, self.close_over_limit(after, blocks))
    }

    /// Closes the oldest connection of a pool that a connection of these blocks has entered, if that exceeds a limit. One
    /// close suffices, because no pool exceeds a limit before.
    fn close_over_limit(&mut self, activity: Activity, blocks: Blocks) -> Option<Closed> {
        let (oldest, cause) = self.pool(activity)?.over_limit(blocks)?;
        self.close(oldest, cause)
    }

    fn close(&mut self, id: u64, cause: CloseCause) -> Option<Closed> {
        Some(Closed { entry: self.remove(id)?, cause })
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(pool) = self.pool(entry.activity()) {
            pool.remove(entry.place(id), entry.blocks);
        }
        Some(entry)
    }
}

impl Entry {
    fn activity(&self) -> Activity {
        match (self.guards, self.requests) {
            (0, 0) => Activity::Idle,
            (0, _) => Activity::Busy,
            _ => Activity::Kept,
        }
    }

    /// Returns the place in the pool of the activity.
    fn place(&self, id: u64) -> Place {
        let position = if self.activity() == Activity::Busy { self.busy_position } else { self.idle_position };
        Place { position, id }
    }
}

#[cfg(test)]
mod tests;
