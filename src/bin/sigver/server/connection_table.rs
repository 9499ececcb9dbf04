//! Connections in the order in which they were accepted. A connection over a limit closes the oldest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::ip_block::IpBlock;

/// Open connections, limited in total and per IP.
///
/// The table closes the oldest connection, not the new one. A client that sends its request at once then gets through,
/// however many silent connections others open.
pub(super) struct ConnectionTable {
    max: usize,
    max_per_ip: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    /// By id, so the oldest is the first.
    entries: BTreeMap<u64, Entry>,
    /// The ids of the entries that count against the limit of this block.
    by_block: HashMap<IpBlock, BTreeSet<u64>>,
}

struct Entry {
    client: IpAddr,
    blocks: Vec<IpBlock>,
    /// Dropping it closes the connection.
    _close: oneshot::Sender<Infallible>,
}

/// A connection in the table. Dropping it removes the connection.
pub(super) struct Connection {
    table: Arc<ConnectionTable>,
    id: u64,
    closed: oneshot::Receiver<Infallible>,
}

/// Which limit closed the oldest connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Total,
    PerIp,
}

impl ConnectionTable {
    pub(super) fn new(max: usize, max_per_ip: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_ip, state: Mutex::default() })
    }

    /// Adds a connection. If that would exceed a limit, it closes the oldest one, and returns the limit and the closed
    /// client. Without `blocks`, the connection counts in total only.
    pub(super) fn insert(
        self: &Arc<Self>,
        client: IpAddr,
        blocks: Vec<IpBlock>,
    ) -> (Connection, Option<(Limit, IpAddr)>) {
        let (close, closed) = oneshot::channel();
        let mut state = self.lock();
        let closed_client = state.close_over_limit(self, &blocks);
        let id = state.next_id;
        state.next_id += 1;
        for &block in &blocks {
            state.by_block.entry(block).or_default().insert(id);
        }
        state.entries.insert(id, Entry { client, blocks, _close: close });
        (Connection { table: self.clone(), id, closed }, closed_client)
    }

    /// Closes the oldest connection except this one, and returns its client.
    pub(super) fn close_oldest_except(&self, connection: &Connection) -> Option<IpAddr> {
        let mut state = self.lock();
        let oldest = state.entries.keys().copied().find(|id| *id != connection.id)?;
        state.remove(oldest)
    }

    /// Returns the number of open connections.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl Connection {
    /// Serves the connection until it ends, and returns its output, or `None` if a limit closes it before.
    pub(super) async fn run<F: Future>(mut self, served: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = served => Some(output),
            _ = &mut self.closed => None,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.table.lock().remove(self.id);
    }
}

impl State {
    /// Makes room for one more connection. The smallest full block is first, and its connections are in the larger
    /// blocks as well.
    fn close_over_limit(&mut self, table: &ConnectionTable, blocks: &[IpBlock]) -> Option<(Limit, IpAddr)> {
        let full = blocks.iter().find_map(|block| {
            let ids = self.by_block.get(block)?;
            ids.first().filter(|_| ids.len() >= block.limit(table.max_per_ip))
        });
        let (limit, oldest) = match full {
            Some(&oldest) => (Limit::PerIp, oldest),
            None if self.entries.len() >= table.max => (Limit::Total, *self.entries.keys().next()?),
            None => return None,
        };
        self.remove(oldest).map(|client| (limit, client))
    }

    /// Removes a connection that has not been removed before, and returns its client.
    fn remove(&mut self, id: u64) -> Option<IpAddr> {
        let Entry { client, blocks, .. } = self.entries.remove(&id)?;
        for block in blocks {
            let ids = self.by_block.get_mut(&block).expect("an entry with a block is in its set");
            ids.remove(&id);
            if ids.is_empty() {
                self.by_block.remove(&block);
            }
        }
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt as _;

    use super::*;

    const MAX: usize = 10;
    const MAX_PER_IP: usize = 3;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn table() -> Arc<ConnectionTable> {
        ConnectionTable::new(MAX, MAX_PER_IP)
    }

    fn insert(table: &Arc<ConnectionTable>, last: u8) -> (Connection, Option<(Limit, IpAddr)>) {
        table.insert(ip(last), IpBlock::of(ip(last)))
    }

    fn is_closed(connection: &mut Connection) -> bool {
        connection.closed.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn connection_over_limit_per_ip_closes_the_oldest_of_its_ip() {
        let table = table();
        let (mut other, _) = insert(&table, 2);
        let mut connections = Vec::new();
        for nth in 0..100 {
            let (connection, closed) = insert(&table, 1);
            assert_eq!(closed, (nth >= MAX_PER_IP).then_some((Limit::PerIp, ip(1))), "{nth}");
            connections.push(connection);
            assert_eq!(table.len(), 1 + MAX_PER_IP.min(nth + 1));
        }
        let closed: Vec<_> = connections.iter_mut().map(is_closed).collect();
        assert_eq!(closed, [[true; 97].as_slice(), &[false; MAX_PER_IP]].concat());
        assert!(!is_closed(&mut other));
    }

    #[test]
    fn connection_over_limit_of_48_network_closes_the_oldest_of_that_network() {
        let ip = |nth: u16, network| IpAddr::from([0x2001, 0xdb8, network, nth, 0, 0, 0, 1]);
        let insert = |table: &Arc<_>, ip| ConnectionTable::insert(table, ip, IpBlock::of(ip));
        let table = ConnectionTable::new(2 * 4 * MAX_PER_IP, MAX_PER_IP);
        let (mut other, _) = insert(&table, ip(0, 2));
        let mut connections = Vec::new();
        for nth in 0..100 {
            let (connection, closed) = insert(&table, ip(nth, 1));
            let oldest = nth.checked_sub(4 * MAX_PER_IP as u16);
            assert_eq!(closed, oldest.map(|oldest| (Limit::PerIp, ip(oldest, 1))), "{nth}");
            connections.push(connection);
            assert_eq!(table.len(), 1 + (4 * MAX_PER_IP).min(connections.len()));
        }
        // A /64 network at its own limit closes its own oldest, not the oldest of the /48 network.
        for oldest in [88, 89, 99, 99] {
            let (connection, closed) = insert(&table, ip(99, 1));
            assert_eq!(closed, Some((Limit::PerIp, ip(oldest, 1))));
            connections.push(connection);
        }
        assert!(!is_closed(&mut other));
    }

    #[test]
    fn connection_over_total_limit_closes_the_oldest_of_all() {
        let table = table();
        let mut connections: Vec<_> = (0..MAX as u8).map(|last| insert(&table, last).0).collect();
        let (new, closed) = insert(&table, 99);
        assert_eq!((closed, table.len()), (Some((Limit::Total, ip(0))), MAX));
        let closed: Vec<_> = connections.iter_mut().map(is_closed).collect();
        assert_eq!(closed, [[true].as_slice(), &[false; MAX - 1]].concat());

        assert_eq!(table.close_oldest_except(&new), Some(ip(1)));
        drop(connections);
        assert_eq!(table.close_oldest_except(&new), None, "the only connection is the new one");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn connection_without_blocks_counts_in_total_only() {
        let table = table();
        let connections: Vec<_> = (0..MAX).map(|_| table.insert(ip(1), Vec::new())).collect();
        assert!(connections.iter().all(|(_, closed)| closed.is_none()));
        assert_eq!(table.insert(ip(1), Vec::new()).1, Some((Limit::Total, ip(1))));
    }

    #[test]
    fn ended_connections_are_removed() {
        let table = table();
        for last in 0..=255 {
            let connections: Vec<_> = (0..MAX).map(|_| insert(&table, last)).collect();
            assert_eq!(table.len(), MAX_PER_IP);
            drop(connections);
        }
        let state = table.lock();
        assert_eq!((state.entries.len(), state.by_block.len()), (0, 0));
    }

    #[tokio::test]
    async fn closed_connection_stops_and_a_finished_one_returns_its_output() {
        let table = ConnectionTable::new(1, 1);
        let (first, _) = insert(&table, 1);
        let mut served = Box::pin(first.run(pending::<()>()));
        assert_eq!(served.as_mut().now_or_never(), None);
        let (second, _) = insert(&table, 1);
        assert_eq!(served.await, None);
        assert_eq!(second.run(ready(7)).await, Some(7));
        assert_eq!(table.len(), 0);
    }
}
