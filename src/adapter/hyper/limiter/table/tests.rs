//! Tests of the limits: which connection closes, and what remains in the table.

use super::*;

const MAX: usize = 10;
const MAX_PER_IP: usize = 3;

fn ip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn limits(max: usize, max_per_ip: usize, causes: [CloseCause; 2]) -> PoolLimits {
    PoolLimits { max: (max, causes[0]), max_per_ip: (max_per_ip, causes[1]) }
}

/// A table with the same limits for idle and for busy connections.
fn table(max: usize, max_per_ip: usize) -> Table {
    Table::new(Settings {
        name: None,
        idle: limits(max, max_per_ip, [CloseCause::MaxHandshakes, CloseCause::MaxHandshakesPerIp]),
        busy: limits(max, max_per_ip, [CloseCause::MaxBusyConnections, CloseCause::MaxBusyConnectionsPerIp]),
        trusted_proxies: TrustedProxies::default(),
        idle_timeout: Duration::from_secs(10),
    })
}

impl Table {
    fn add(&self, client: IpAddr) -> u64 {
        self.insert(client).0
    }

    fn is_open(&self, id: u64) -> bool {
        self.lock().entries.contains_key(&id)
    }

    /// Returns the connections that are open, of these.
    fn open(&self, ids: &[u64]) -> Vec<u64> {
        ids.iter().copied().filter(|&id| self.is_open(id)).collect()
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = CloseCause::ALL.iter().map(|&cause| (cause.as_str(), self.closes.count(cause)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.entries.is_empty() && state.idle.is_empty() && state.busy.is_empty()
    }
}

#[test]
fn connection_over_limit_per_ip_closes_the_oldest_of_its_ip() {
    let table = table(MAX, MAX_PER_IP);
    let other = table.add(ip(2));
    let ids: Vec<_> = (0..100).map(|_| table.add(ip(1))).collect();
    assert_eq!(table.open(&ids), ids[97..]);
    assert!(table.is_open(other));
    assert_eq!(table.counts(), [("max_handshakes_per_ip", 97)]);
}

#[test]
fn connection_over_limit_of_48_network_closes_the_oldest_of_that_network() {
    let ip = |nth: u16, network| IpAddr::from([0x2001, 0xdb8, network, nth, 0, 0, 0, 1]);
    let table = table(100, MAX_PER_IP);
    let other = table.add(ip(0, 2));
    let mut ids: Vec<_> = (0..100).map(|nth| table.add(ip(nth, 1))).collect();
    assert_eq!(table.open(&ids), ids[100 - 4 * MAX_PER_IP..]);
    // A /64 network at its own limit closes its own oldest, not the oldest of the /48 network.
    ids.extend([(); 2].map(|()| table.add(ip(99, 1))));
    assert_eq!(table.open(&ids), ids[90..]);
    ids.push(table.add(ip(99, 1)));
    assert_eq!(table.open(&ids), [&ids[90..99], &ids[100..]].concat());
    assert!(table.is_open(other));
    assert_eq!(table.counts(), [("max_handshakes_per_ip", 91)]);
}

#[test]
fn connection_over_total_limit_closes_the_oldest_of_all() {
    let table = table(MAX, MAX_PER_IP);
    let ids: Vec<_> = (0..=MAX as u8).map(|last| table.add(ip(last))).collect();
    assert_eq!(table.open(&ids), ids[1..]);
    assert_eq!((table.idle(), table.counts()), (MAX, vec![("max_handshakes", 1)]));
}

#[test]
fn trusted_proxies_are_exempt_from_the_limits_per_ip_only() {
    let mut settings = Settings {
        idle: limits(4, 1, [CloseCause::MaxHandshakes, CloseCause::MaxHandshakesPerIp]),
        busy: limits(4, 1, [CloseCause::MaxBusyConnections, CloseCause::MaxBusyConnectionsPerIp]),
        name: None,
        trusted_proxies: TrustedProxies::default(),
        idle_timeout: Duration::MAX,
    };
    settings.trusted_proxies.trust("10.0.0.0/8").expect("a network");
    let table = Table::new(settings);
    let [proxy, behind_nat64] = ["::ffff:10.1.2.3", "64:ff9b::10.1.2.3"].map(|ip| ip.parse().expect("an address"));
    let ids = [proxy, proxy, behind_nat64, behind_nat64].map(|proxy| table.add(proxy));
    ids.iter().for_each(|&id| table.begin_request(id));
    assert_eq!((table.busy(), table.counts()), (4, vec![]));
    let fifth = table.add(proxy);
    table.begin_request(fifth);
    assert_eq!((table.busy(), table.counts()), (4, vec![("max_busy_connections", 1)]));
    let _four = [(); 4].map(|()| table.add(proxy));
    assert_eq!(table.counts(), [("max_busy_connections", 1)]);
    let _two = [(); 2].map(|()| table.add(ip(1)));
    assert_eq!(
        (table.idle(), table.counts()),
        (4, vec![("max_handshakes", 1), ("max_handshakes_per_ip", 1), ("max_busy_connections", 1)])
    );
}

#[test]
fn connection_with_a_request_or_a_guard_is_not_idle() {
    let table = table(MAX, MAX_PER_IP);
    let id = table.add(ip(1));
    let counts = || (table.idle(), table.busy());
    table.begin_request(id);
    table.begin_request(id);
    assert_eq!(counts(), (0, 1));
    table.add_guard(id);
    assert_eq!(counts(), (0, 0));
    table.add_guard(id);
    table.end_request(id);
    table.remove_guard(id);
    assert_eq!(counts(), (0, 0));
    table.remove_guard(id);
    assert_eq!(counts(), (0, 1));
    table.end_request(id);
    assert_eq!(counts(), (1, 0));
    table.remove(id);
    assert!(table.is_empty());
}

#[test]
fn idle_connections_do_not_close_busy_or_kept_ones() {
    let table = table(MAX, MAX_PER_IP);
    let [busy, kept] = [(); 2].map(|()| table.add(ip(1)));
    table.begin_request(busy);
    table.add_guard(kept);
    let silent: Vec<_> = (0..100).map(|nth| table.add(ip(nth % 50))).collect();
    assert_eq!(table.open(&silent), silent[90..]);
    assert_eq!(table.open(&[busy, kept]), [busy, kept]);
}

#[test]
fn request_over_a_limit_closes_the_connection_that_has_been_busy_for_the_longest_time() {
    let table = table(MAX, MAX_PER_IP);
    let ids: Vec<_> = (0..=MAX_PER_IP).map(|_| table.add(ip(1))).collect();
    // The first is closed, the last becomes busy first.
    for &id in ids.iter().rev() {
        table.begin_request(id);
    }
    assert_eq!((table.busy(), table.open(&ids)), (MAX_PER_IP, ids[1..].to_vec()));
    let fourth = table.add(ip(1));
    table.begin_request(fourth);
    assert_eq!(table.open(&ids), ids[1..MAX_PER_IP]);
    assert_eq!(table.counts(), [("max_handshakes_per_ip", 1), ("max_busy_connections_per_ip", 1)]);
    let others: Vec<_> = (10..18).map(|last| table.add(ip(last))).collect();
    others.iter().for_each(|&id| table.begin_request(id));
    // The next oldest, which is the second of the remaining three.
    assert_eq!((table.busy(), table.open(&ids)), (MAX, vec![ids[1]]));
    assert_eq!(table.closes.count(CloseCause::MaxBusyConnections), 1);
}

#[test]
fn requests_do_not_make_an_idle_connection_younger_than_a_new_one() {
    let table = table(2, 2);
    let old = table.add(ip(1));
    let new = table.add(ip(2));
    for _ in 0..100 {
        table.begin_request(old);
        table.end_request(old);
    }
    table.add(ip(3));
    assert_eq!(table.open(&[old, new]), [new]);
}

#[test]
fn connection_counts_as_new_after_its_last_guard() {
    let table = table(2, 2);
    let old = table.add(ip(1));
    table.add_guard(old);
    let [first, second] = [2, 3].map(|last| table.add(ip(last)));
    table.remove_guard(old);
    assert_eq!(table.open(&[old, first, second]), [old, second]);
}

#[test]
fn connection_that_ends_its_request_closes_the_oldest_idle_one() {
    let table = table(2, 2);
    let [first, second, third] = [1, 2, 3].map(|last| {
        let id = table.add(ip(last));
        if last == 1 {
            table.begin_request(id);
        }
        id
    });
    table.end_request(first);
    assert_eq!(table.open(&[first, second, third]), [second, third], "it is the oldest itself");
}

#[test]
fn descriptors_are_freed_by_the_oldest_of_the_larger_pool() {
    let table = table(MAX, MAX);
    assert!(!table.close_oldest_except(None));
    let ids: Vec<_> = (0..6).map(|last| table.add(ip(last))).collect();
    table.begin_request(ids[0]);
    table.begin_request(ids[1]);
    table.add_guard(ids[5]);
    // Three idle and two busy connections, then two of each, and so on.
    let mut closed = Vec::new();
    while table.close_oldest_except(Some(ids[4])) {
        closed
            .extend(ids.iter().copied().filter(|&id| !table.is_open(id) && !closed.contains(&id)).collect::<Vec<_>>());
    }
    assert_eq!(closed, [ids[2], ids[3], ids[0], ids[1]]);
    assert_eq!(table.counts(), [("file_descriptors", 4)]);
    assert!(table.close_oldest_except(None));
    assert_eq!(table.open(&ids), [ids[5]]);
}

#[test]
fn requests_and_guards_of_a_closed_connection_end_without_effect() {
    let table = table(1, 1);
    let id = table.add(ip(1));
    table.begin_request(id);
    table.add_guard(id);
    table.remove(id);
    table.remove_guard(id);
    table.begin_request(id);
    table.end_request(id);
    table.end_request(id);
    assert!(table.is_empty());
}

#[test]
fn ended_and_closed_connections_leave_nothing() {
    let table = table(MAX, MAX_PER_IP);
    let mut random = fastrand::Rng::with_seed(7);
    let mut open: Vec<(u64, usize, usize)> = Vec::new();
    for _ in 0..20_000 {
        let pick = if open.is_empty() { 0 } else { random.usize(..open.len()) };
        match random.u8(..8) {
            0 | 1 => {
                let network = [0x2001, 0xdb8, random.u16(..3), random.u16(..3), 0, 0, 0, 1].into();
                open.push((table.add(if random.bool() { ip(random.u8(..4)) } else { network }), 0, 0));
            }
            _ if open.is_empty() => {}
            2 => {
                table.begin_request(open[pick].0);
                open[pick].1 += 1;
            }
            3 if open[pick].1 > 0 => {
                table.end_request(open[pick].0);
                open[pick].1 -= 1;
            }
            4 => {
                table.add_guard(open[pick].0);
                open[pick].2 += 1;
            }
            5 if open[pick].2 > 0 => {
                table.remove_guard(open[pick].0);
                open[pick].2 -= 1;
            }
            6 => table.remove(open.swap_remove(pick).0),
            _ => _ = table.close_oldest_except(None),
        }
        assert!(table.idle() <= MAX && table.busy() <= MAX);
        // A closed connection is removed when its task ends.
        open.retain(|(id, ..)| table.is_open(*id));
        let state = table.lock();
        let kept = state.entries.values().filter(|entry| entry.guards > 0).count();
        assert_eq!(state.entries.len(), state.idle.len() + state.busy.len() + kept);
    }
    open.into_iter().for_each(|(id, ..)| table.remove(id));
    assert!(table.is_empty());
}
